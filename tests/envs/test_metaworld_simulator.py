"""Meta-World itself, where it is installed (an environment of its own: `pip install -e '.[metaworld]'`)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("metaworld")

import mujoco

from wla.envs.metaworld.env import HOLD_STEPS
from wla.envs.metaworld.family import FAMILY
from wla.envs.metaworld.instructions import INSTRUCTIONS
from wla.envs.metaworld.tasks import MT50
from wla.envs.registry import make_env, make_expert
from wla.rollout.episode import run_episode
from wla.rollout.results import TaskVariant
from wla.types import Env, Observation

pytestmark = pytest.mark.slow
SEEDS = (300_000, 300_001)


def episode(env: Env, seed: int, steps: int = 20) -> tuple[str, np.ndarray, np.ndarray]:
    """Instruction, states of the first steps of the expert, and the image before them."""
    expert = make_expert("metaworld", env)
    raw, info = env.reset(seed=seed)
    image, state, states = raw["images"]["corner2"], expert.reset(info["instruction"]), [raw["state"]]
    for _ in range(steps):
        chunk, state = expert.act(Observation(**raw), state)
        raw, *_ = env.step(chunk.actions[0])
        states.append(raw["state"])
    return info["instruction"], np.stack(states), image


@pytest.mark.parametrize("task", MT50)
def test_an_episode_follows_from_its_seed_whatever_ran_before(task: str) -> None:
    env, other = (make_env("metaworld", task=task, image_size=64) for _ in range(2))
    text, states, image = episode(env, SEEDS[0])
    _, _, different_image = episode(env, SEEDS[1])
    for again in (episode(env, SEEDS[0]), episode(other, SEEDS[0])):
        assert again[0] == text
        np.testing.assert_array_equal(again[1], states)
        np.testing.assert_array_equal(again[2], image)
    env.close()
    other.close()
    assert not np.array_equal(image, different_image), "seeds differ in their objects or goals"
    assert text in INSTRUCTIONS[task].test


@pytest.mark.parametrize("task", FAMILY.groups["mt10"])
def test_experts_solve_their_tasks(task: str) -> None:
    env = make_env("metaworld", task=task, image_size=16)
    variant = TaskVariant("metaworld", task, "default", "sawyer")
    results = [
        run_episode(env, make_expert("metaworld", env), seed, variant=variant, policy_name="expert") for seed in SEEDS
    ]
    env.close()
    assert [result.outcome for result in results] == ["success"] * len(SEEDS), results


def test_cameras_stand_upright() -> None:
    """The arm moves up in the image when the hand moves up, and to the right when it moves away from its base."""
    env = make_env("metaworld", task="reach-v3", embodiment="sawyer_wrist", image_size=96)
    assert list(env.robot_spec.observation.cameras) == ["corner2", "gripperPOV"]

    def arm_centre(image: np.ndarray) -> tuple[float, float]:
        """Centre (row, column) of what is red, the arm."""
        mask = (image[..., 0] > 90) & (image[..., 1] < 60) & (image[..., 2] < 60)
        rows, columns = np.nonzero(mask)
        return float(rows.mean()), float(columns.mean())

    def after(action: list[float]) -> np.ndarray:
        env.reset(seed=SEEDS[0])
        for _ in range(40):
            raw, *_ = env.step(np.float32(action))
        return raw["images"]["corner2"]

    up, down = arm_centre(after([0, 0, 1, -1])), arm_centre(after([0, 0, -1, -1]))
    assert up[0] < down[0] - 2
    ahead, behind = arm_centre(after([0, 1, 0, -1])), arm_centre(after([0, -1, 0, -1]))
    assert ahead[1] > behind[1] + 2, "the arm stands at the left and reaches to the right"
    env.close()


@pytest.mark.parametrize("task", ["peg-insert-side-v3", "push-v3", "window-open-v3", "drawer-open-v3"])
def test_the_first_image_shows_objects_and_goals_where_they_are(task: str) -> None:
    """The benchmark draws those of 29 tasks elsewhere until the first step, up to 26 cm away."""
    env = make_env("metaworld", task=task, image_size=16)
    env.reset(seed=SEEDS[0])
    model, data = env._simulation.model, env._simulation.data
    drawn = np.concatenate([data.geom_xpos, data.site_xpos])
    mujoco.mj_kinematics(model, data)
    np.testing.assert_array_equal(np.concatenate([data.geom_xpos, data.site_xpos]), drawn)
    env.close()


def test_the_state_is_hand_and_opening_without_the_goal() -> None:
    env = make_env("metaworld", task="push-v3", image_size=16)
    starts = [env.reset(seed=seed)[0]["state"] for seed in SEEDS]
    np.testing.assert_array_equal(*starts)  # puck and goal differ, the hand does not
    raw, *_ = env.step(np.float32([0, 0, 1, 0]))
    for _ in range(20):
        raw, *_ = env.step(np.float32([0, 0, 1, 1]))
    assert raw["state"][2] > starts[0][2] + 0.05
    assert raw["state"][3] < starts[0][3] - 0.1, "1 closes the gripper"
    env.close()


def test_success_at_any_time_counts_and_the_episode_ends_when_it_was_held() -> None:
    env = make_env("metaworld", task="drawer-close-v3", image_size=16)
    expert = make_expert("metaworld", env)
    raw, info = env.reset(seed=SEEDS[0])
    state, seen = expert.reset(info["instruction"]), []
    while not (seen and seen[-1]["held"]):
        chunk, state = expert.act(Observation(**raw), state)
        raw, _, terminated, truncated, info = env.step(chunk.actions[0])
        assert terminated == info["held"]
        assert not truncated
        seen.append(info)
    reached = [step["success"] for step in seen]
    assert sum(reached) == HOLD_STEPS
    env.close()


def test_unusable_actions_are_refused() -> None:
    env = make_env("metaworld", task="reach-v3", image_size=16)
    env.reset(seed=SEEDS[0])
    for action in ([0, 0, 0], [0, 0, 0, np.nan]):
        with pytest.raises(ValueError, match="4 finite numbers"):
            env.step(np.float32(action))
    with pytest.raises(ValueError, match="no reset options"):
        env.reset(seed=1, options={"goal": 1})
    env.close()


def test_scenes_follow_from_their_seed_and_their_views_point_at_goals() -> None:
    """The goal of pick-place is a blue dot that nothing else in its image is as blue as."""
    assert FAMILY.sample_scene is not None
    assert FAMILY.objects is not None
    env = make_env("metaworld", task="pick-place-v3", image_size=192)
    seen = []
    for seed in range(10):
        image = FAMILY.sample_scene(env, seed)["images"]["corner2"].astype(int)
        goal = next(found for found in FAMILY.objects(env, ["corner2"]) if found.name == "goal")
        u, v, *_ = goal.views["corner2"]
        pixel = image[int(192 * v), int(192 * u)]
        seen.append(pixel[2] > pixel[:2].max() + 60)
    assert sum(seen) >= 5, "the hand is in front of some"
    first, again, other = (FAMILY.sample_scene(env, seed)["images"]["corner2"] for seed in (4, 4, 5))
    env.close()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_steps_without_images_are_the_same_steps() -> None:
    env, quick = (make_env("metaworld", task="push-v3", image_size=32) for _ in range(2))
    raw, _ = env.reset(seed=SEEDS[0])
    quick.reset(seed=SEEDS[0])
    for number in range(12):
        action = np.float32([0.5, -0.5, -0.2, 0.3])
        quick.images_wanted = number % 4 == 3
        raw, *rest = env.step(action)
        unseen, *same = quick.step(action)
        np.testing.assert_array_equal(unseen["state"], raw["state"])
        assert same == rest
        assert bool(unseen["images"]) == quick.images_wanted
    np.testing.assert_array_equal(unseen["images"]["corner2"], raw["images"]["corner2"])
    env.close()
    quick.close()
