from __future__ import annotations

import numpy as np
import pytest
from episodes import env_without_images, expert_subtask_spans, press, slide_to

from wla.envs.registry import make_env
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.objects import BUTTON_TOP, BUTTON_TRAVEL
from wla.envs.tabletop.objects_buttons import CARD_HALF_X
from wla.envs.tabletop.tasks.press_count import PressCount
from wla.types import Observation

FIRST, SECOND, CONFIRM = "button_first", "button_second", "button_confirm"


def started(seed: int = 0) -> tuple[TabletopEnv, PressCount, int, int]:
    """Returns an episode and the numbers on its cards."""
    env = env_without_images("press_count")
    env.reset(seed=seed)
    task = env.task
    assert isinstance(task, PressCount)
    first, second = (card.number for card in task.cards)
    return env, task, first, second


def test_a_press_counts_once_when_it_passes_the_threshold() -> None:
    env, task, *_ = started()
    depths = (0.0, 0.59, 0.61, 1.0, 0.61, 0.31, 1.0, 0.31, 0.29, 0.59, 0.61, 0.0)
    counts = []
    for depth in depths:
        slide_to(env, FIRST, depth * BUTTON_TRAVEL)
        counts.append(task.counts[0])
    assert counts == [0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]
    assert task.counts[1] == 0


@pytest.mark.parametrize("seed", range(4))
def test_confirming_the_exact_counts_is_a_success(seed: int) -> None:
    env, task, first, second = started(seed)
    press(env, FIRST, first)
    press(env, SECOND, second)
    assert not task.success(env.world)
    press(env, CONFIRM)
    assert task.success(env.world)
    assert not task.failed(env.world)


def test_confirming_too_early_fails_permanently() -> None:
    env, task, first, second = started()
    press(env, FIRST, first)
    press(env, SECOND, second - 1)
    assert not task.failed(env.world)
    press(env, CONFIRM)
    assert task.failed(env.world)
    press(env, SECOND)
    press(env, CONFIRM)
    assert task.failed(env.world)
    assert not task.success(env.world)


@pytest.mark.parametrize("button", [FIRST, SECOND])
def test_pressing_too_often_terminates_without_success(button: str) -> None:
    env, task, first, second = started()
    number = first if button == FIRST else second
    press(env, button, number)
    assert not task.failed(env.world)
    press(env, button)
    assert task.failed(env.world)
    *_, terminated, _, info = env.step(np.zeros(5, dtype=np.float32))
    assert terminated
    assert not info["success"]


def test_a_press_is_not_visible_afterwards() -> None:
    env = make_env("tabletop", task="press_count")
    before = env.reset(seed=1)[0]["images"]
    press(env, FIRST)
    after = env.observe()["images"]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_cards_display_their_numbers_without_overlap_and_inside_the_image() -> None:
    numbers = set()
    env = env_without_images("press_count")
    for seed in range(40):
        env.reset(seed=seed)
        task = env.task
        assert isinstance(task, PressCount)
        for card in task.cards:
            dark = [env.world.model.geom(f"{card.body}_cell_{i}").rgba[0] < 0.2 for i in range(5)]
            assert dark == [i < card.number for i in range(5)]
            numbers.add(card.number)
        left, right = task.cards
        assert right.x - left.x > 2 * CARD_HALF_X
        assert left.x - CARD_HALF_X > -0.22
    assert numbers == {1, 2, 3, 4, 5}


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_subtasks_of_the_expert_count_the_presses(embodiment: str) -> None:
    env = env_without_images("press_count", embodiment=embodiment)
    for seed in range(3):
        spans = expert_subtask_spans(env, seed)
        assert isinstance(env.task, PressCount)
        expected = []
        for card in env.task.cards:
            for count in range(1, card.number + 1):
                expected += [f"press the {card.role} button {count} of {card.number}"]
                expected += [f"let go of the {card.role} button"]
        assert [text for text, _ in spans] == [*expected, "press the confirm button"]
        assert min(steps for _, steps in spans) >= 3


def test_one_frame_distinguishes_moving_up_from_moving_down() -> None:
    """Only the fingers differ: they are closed on the way down and open on the way up."""
    env, *_ = started()
    expert = Expert(env)
    observation, info = env.reset(seed=0)
    carry, done, widths = expert.reset(info["instruction"], seed=0), False, {"press": [], "let go": []}
    while not done:
        low = env.world.tool[2] < BUTTON_TOP + env.world.arm.tip
        chunk, carry = expert.act(Observation(**observation), carry)
        observation, _, terminated, truncated, _ = env.step(chunk.actions[0])
        if low and "confirm" not in chunk.subtasks[0]:
            widths["press" if chunk.subtasks[0].startswith("press") else "let go"].append(observation["state"][4])
        done = terminated or truncated
    assert widths["press"]
    assert widths["let go"]
    assert max(widths["press"]) < 0.01 < 0.07 < min(widths["let go"])
