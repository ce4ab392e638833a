from __future__ import annotations

import re

import numpy as np
import pytest
from episodes import env_without_images, expert_successes, success_rate

from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.tasks import SHORT_TASKS, TASKS, VIDEO_TASKS, load_task
from wla.types import Observation

ARMS = ("gantry", "scara")
SUBTASKS = {
    "place": r"(reach|grasp|release) the \w+ block|move to the bowl",
    "stack": r"(reach|grasp|release|move to) the \w+ block",
    "push": r"reach the \w+ block|push the \w+ block to the (left|right) zone",
    "press": r"(reach|press) the button",
    "drawer": r"(reach|pull) the drawer handle",
    "place_two": r"(reach|grasp|release) the \w+ block|move to the (bowl|plate)",
    "place_on_plate": r"(reach|grasp|release) the \w+ block|move to the plate",
    "push_back": r"reach the \w+ block|push the \w+ block back",
    "press_count": r"(press|let go of) the (first|second) button( \d of \d)?|press the confirm button",
    "rank_try": r"move the \w+ block to the (left|middle|right|spare) pad|try the order \w+ \w+ \w+",
    "cover_blocks": r"(un)?cover the (red|green|blue) block (on the left|in the middle|on the right)",
    "battery_try": r"put the (left|right) cell in the slot|turn the (left|right) cell (along|across)"
    r"|try the dial with (along|across) (along|across)",
}
SUPPORTED = [(task, arm) for task in TASKS for arm in ARMS if arm in load_task(task).embodiments]


@pytest.mark.parametrize(("task", "embodiment"), SUPPORTED)
def test_experts_succeed(task: str, embodiment: str) -> None:
    env = env_without_images(task, setting="randomized", embodiment=embodiment)
    # All four with the newest MuJoCo; contacts differ a little between its versions.
    assert sum(expert_successes(env, range(4))) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("perturb", [False, True])
@pytest.mark.parametrize("setting", ["clean", "randomized"])
@pytest.mark.parametrize(("task", "embodiment"), SUPPORTED)
def test_experts_nearly_always_succeed(task: str, setting: str, embodiment: str, perturb: bool) -> None:
    env = env_without_images(task, setting=setting, embodiment=embodiment)
    assert np.mean(expert_successes(env, range(100), perturb=perturb)) >= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("random", [False, True])
@pytest.mark.parametrize(("task", "embodiment"), SUPPORTED)
def test_tasks_are_not_solved_by_chance(task: str, embodiment: str, random: bool) -> None:
    assert success_rate(env_without_images(task, embodiment=embodiment), range(60), random=random) < 0.05


@pytest.mark.parametrize("task", TASKS)
def test_subtasks_have_the_expected_texts_and_experts_are_stateless(task: str) -> None:
    env = env_without_images(task)
    expert = Expert(env)
    observation, info = env.reset(seed=11)
    carry, done, subtasks = expert.reset(info["instruction"]), False, []
    while not done:
        chunk, carry = expert.act(Observation(**observation), carry)
        # An expert that is created now returns the same action.
        other, _ = Expert(env).act(Observation(**observation), expert.reset(""))
        assert np.array_equal(chunk.actions, other.actions)
        assert chunk.subtasks == other.subtasks
        assert chunk.actions.shape == (1, env.robot_spec.action.dim)
        assert env.action_space.contains(chunk.actions[0])
        subtasks.append(chunk.subtasks[0])
        observation, _, terminated, truncated, _ = env.step(chunk.actions[0])
        done = terminated or truncated
    assert all(re.fullmatch(SUBTASKS[task], text) for text in subtasks)
    changes = [text for text, last in zip(subtasks, [None, *subtasks], strict=False) if text != last]
    if task in (*SHORT_TASKS, *VIDEO_TASKS):
        assert len(changes) == len(set(changes)), "an unperturbed expert never returns to a subtask"


def test_place_two_fails_in_the_wrong_order() -> None:
    env = env_without_images("place_two")
    env.reset(seed=0)
    world, second = env.world, env.task.objects[1]
    x, y, _ = world.position("plate")
    world.put(second.body, (x, y, 0.0285))
    world.forward()
    idle = np.array([0, 0, 0, 0, -1], dtype=np.float32)
    outcomes = [env.step(idle)[2:] for _ in range(2)]
    assert any(terminated and not info["success"] for terminated, _, info in outcomes)


def test_the_expert_picks_up_a_lost_block_again() -> None:
    env = env_without_images("place")
    expert = Expert(env)
    observation, info = env.reset(seed=5)
    carry, done, dropped = expert.reset(info["instruction"]), False, False
    while not done:
        chunk, carry = expert.act(Observation(**observation), carry)
        if chunk.subtasks[0] == "move to the bowl" and not dropped and env.world.tool[2] > 0.08:
            dropped = True
            block = env.task.objects[0].body
            env.world.put(block, (0.0, -0.12, 0.02), 0.2)
        observation, _, terminated, truncated, info = env.step(chunk.actions[0])
        done = terminated or truncated
    assert dropped
    assert info["success"]
