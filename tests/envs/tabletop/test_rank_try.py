from __future__ import annotations

import numpy as np
import pytest
from episodes import env_without_images, expert_subtask_spans, press

from wla.envs.registry import make_env
from wla.envs.tabletop.env import TabletopEnv
from wla.envs.tabletop.objects import BLOCK_HALF
from wla.envs.tabletop.tasks.rank_try import RankTry

BUTTON = "button_confirm"
SIDES = ("left", "middle", "right")


def episode(env: TabletopEnv) -> RankTry:
    """Returns the current episode."""
    assert isinstance(env.task, RankTry)
    return env.task


def lay(env: TabletopEnv, order: tuple[str, ...], offset: float = 0.0) -> None:
    """Puts the blocks on the pads in this order, `offset` metres beside their centres."""
    for pad, colour in zip(episode(env).pads, order, strict=True):
        env.world.put(f"block_{colour}", (pad.x + offset, pad.y, BLOCK_HALF))
    env.world.forward()


def test_the_hidden_order_is_a_different_order_of_the_same_blocks() -> None:
    env, permutations = env_without_images("rank_try"), set()
    for seed in range(60):
        env.reset(seed=seed)
        task = episode(env)
        order = tuple(block.colour for block in task.blocks)
        assert order != task.hidden
        assert sorted(order) == sorted(task.hidden)
        permutations.add(tuple(order.index(colour) for colour in task.hidden))
    assert len(permutations) == 5


def test_a_failed_try_is_not_visible_afterwards() -> None:
    env = make_env("tabletop", task="rank_try")
    before = env.reset(seed=0)[0]["images"]
    press(env, BUTTON)
    after = env.observe()["images"]
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_lamp_lights_up_for_the_hidden_order_when_the_button_is_pressed_and_is_dark_after_a_reset() -> None:
    env = make_env("tabletop", task="rank_try")
    first = env.reset(seed=0)[0]["images"]["front"]
    lay(env, episode(env).hidden)
    env.task.update(env.world)
    assert not env.task.success(env.world)
    dark = env.observe()["images"]["front"].astype(int)
    press(env, BUTTON)
    assert env.task.success(env.world)
    change = np.abs(env.observe()["images"]["front"].astype(int) - dark).max(axis=2)
    assert (change > 100).sum() > 20, "the lamp is visible"
    assert np.array_equal(env.reset(seed=0)[0]["images"]["front"], first)


@pytest.mark.parametrize(("offset", "lit"), [(0.030, True), (0.034, False)])
def test_blocks_count_only_near_the_centre_of_a_pad(offset: float, lit: bool) -> None:
    env = env_without_images("rank_try")
    env.reset(seed=3)
    lay(env, episode(env).hidden, offset)
    press(env, BUTTON)
    assert env.task.success(env.world) == lit


def test_failed_tries_never_fail_the_episode() -> None:
    env = env_without_images("rank_try")
    env.reset(seed=3)
    for _ in range(20):
        press(env, BUTTON)
    assert not env.task.failed(env.world)


def test_the_expert_tries_all_orders() -> None:
    env, most_tries = env_without_images("rank_try"), 0
    for seed in range(30):
        env.reset(seed=seed)
        task, tried = episode(env), []
        while not task.lit:
            tried.append(task.goal)
            lay(env, task.goal)
            press(env, BUTTON)
        assert tried[-1] == task.hidden
        assert len(set(tried)) == len(tried) <= 5
        most_tries = max(most_tries, len(tried))
    assert most_tries == 5


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_the_expert_swaps_neighbours_via_the_spare_pad_and_tries_after_each_swap(embodiment: str) -> None:
    env = env_without_images("rank_try", embodiment=embodiment)
    spans = expert_subtask_spans(env, 0)
    order = [block.colour for block in episode(env).blocks]
    expected = []
    for number in range(len(spans) // 4):
        left = number % 2
        mover, other = order[left : left + 2]
        order[left : left + 2] = other, mover
        expected += [
            f"move the {mover} block to the spare pad",
            f"move the {other} block to the {SIDES[left]} pad",
            f"move the {mover} block to the {SIDES[left + 1]} pad",
            f"try the order {' '.join(order)}",
        ]
    assert [text for text, _ in spans] == expected
    assert tuple(order) == episode(env).hidden
    assert min(steps for _, steps in spans) >= 3
