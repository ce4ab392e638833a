from __future__ import annotations

import mujoco
import numpy as np
import pytest
from episodes import env_without_images
from gymnasium.utils.env_checker import check_env

from wla.envs.registry import make_env
from wla.envs.tabletop.env import HOLD_STEPS, TabletopEnv
from wla.envs.tabletop.expert import Expert
from wla.envs.tabletop.tasks import TASKS
from wla.types import Observation

ARMS = ("gantry", "scara")


def episode(env: TabletopEnv, seed: int, steps: int = 6) -> list[np.ndarray]:
    """Returns states and images of a few steps of the expert."""
    expert = Expert(env)
    observation, info = env.reset(seed=seed)
    arrays, carry = [], expert.reset(info["instruction"])
    for _ in range(steps):
        arrays += [observation["state"], *observation["images"].values()]
        chunk, carry = expert.act(Observation(**observation), carry)
        observation, *_ = env.step(chunk.actions[0])
    return arrays


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("embodiment", ARMS)
def test_gymnasiums_checks_pass(embodiment: str) -> None:
    env = make_env("tabletop", task="place", embodiment=embodiment, image_size=32)
    check_env(env, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("embodiment", ARMS)
def test_the_spec_describes_observations_and_actions(embodiment: str) -> None:
    env = make_env("tabletop", task="press", embodiment=embodiment, image_size=48)
    observation, info = env.reset(seed=1)
    spec = env.robot_spec
    assert {name: image.shape[:2] for name, image in observation["images"].items()} == spec.observation.cameras
    assert spec.observation.primary_camera == "front"
    assert observation["state"].shape == (spec.observation.state_dim,)
    assert env.action_space.shape == (spec.action.dim,)
    assert isinstance(info["instruction"], str)


@pytest.mark.parametrize("embodiment", ARMS)
def test_the_same_seed_gives_the_same_episode_bit_for_bit(embodiment: str) -> None:
    env = make_env("tabletop", task="stack", setting="randomized", embodiment=embodiment, image_size=32)
    first = episode(env, 7)
    episode(env, 8)
    second_env = make_env("tabletop", task="stack", setting="randomized", embodiment=embodiment, image_size=32)
    for repeated in (episode(env, 7), episode(second_env, 7)):
        assert all(np.array_equal(a, b) for a, b in zip(first, repeated, strict=True))
    assert not np.array_equal(first[1], episode(env, 9)[1])


@pytest.mark.parametrize(("action", "message"), [(np.zeros(4), "shape"), (np.full(5, np.nan), "not finite")])
def test_invalid_actions_are_refused(action: np.ndarray, message: str) -> None:
    env = env_without_images("place")
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(action.astype(np.float32))


def test_a_step_before_the_first_reset_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
        env_without_images("place").step(np.zeros(5, dtype=np.float32))


def test_actions_beyond_the_limits_are_clipped() -> None:
    states = []
    for push in (0.03, 10.0):
        env = env_without_images("place")
        env.reset(seed=0)
        states.append(env.step(np.array([push, 0, 0, 0, -1], dtype=np.float32))[0]["state"])
    assert np.array_equal(*states)


def test_success_must_hold_for_several_steps_and_terminates_the_episode() -> None:
    env = env_without_images("press")
    expert = Expert(env)
    observation, info = env.reset(seed=2)
    carry, rewards = expert.reset(info["instruction"]), []
    terminated = False
    while not terminated:
        chunk, carry = expert.act(Observation(**observation), carry)
        observation, reward, terminated, truncated, info = env.step(chunk.actions[0])
        rewards.append(reward)
        assert info["success"] == terminated
        assert not truncated
    assert rewards[-HOLD_STEPS:] == [1.0] * HOLD_STEPS
    assert sum(rewards) == HOLD_STEPS


def test_an_idle_episode_is_truncated_at_the_step_limit() -> None:
    env = env_without_images("press")
    env.reset(seed=0)
    steps = [env.step(np.zeros(5, dtype=np.float32))[2:4] for _ in range(env.task.step_limit)]
    assert steps == [(False, False)] * (len(steps) - 1) + [(False, True)]


def in_front_image(env: TabletopEnv, point: tuple[float, float, float], size: int) -> tuple[int, int]:
    """Projects a point to row and column of the front camera's image."""
    camera = mujoco.mj_name2id(env.world.model, mujoco.mjtObj.mjOBJ_CAMERA, "front")
    right, up, back = env.world.data.cam_xmat[camera].reshape(3, 3).T
    ray = np.array(point) - env.world.data.cam_xpos[camera]
    scale = size / 2 / np.tan(np.radians(env.world.model.cam_fovy[camera]) / 2) / -(ray @ back)
    return int(size / 2 - scale * (ray @ up)), int(size / 2 + scale * (ray @ right))


@pytest.mark.parametrize("setting", ["clean", "randomized"])
def test_blocks_are_rendered_at_the_positions_and_in_the_colours_of_objects(setting: str) -> None:
    size, hits = 96, []
    env = make_env("tabletop", task="stack", setting=setting, image_size=size)
    strongest = {"red": [0], "green": [1], "blue": [2], "yellow": [0, 1]}
    for seed in range(12):
        image = env.sample_scene(seed)["images"]["front"].astype(int)
        for obj in env.objects():
            if obj.name.endswith("block"):
                row, column = in_front_image(env, obj.position, size)
                pixel = image[row, column]
                weak = [channel for channel in range(3) if channel not in strongest[obj.colour]]
                hits.append(pixel[strongest[obj.colour]].min() > 1.4 * pixel[weak].max())
    assert np.mean(hits) > 0.85  # the tool occludes some


@pytest.mark.parametrize("task", TASKS)
def test_scenes_are_determined_by_their_seed_and_list_their_objects(task: str) -> None:
    env = make_env("tabletop", task=task, setting="randomized", image_size=32)
    scenes = [env.sample_scene(seed) for seed in (4, 5, 4)]
    assert np.array_equal(scenes[0]["images"]["front"], scenes[2]["images"]["front"])
    assert not np.array_equal(scenes[0]["images"]["front"], scenes[1]["images"]["front"])
    names = [obj.name for obj in env.objects()]
    assert names[-1] == "tool"
    assert len(set(names)) == len(names)
    assert "distractor" not in names


@pytest.mark.parametrize("embodiment", ARMS)
def test_a_third_of_the_scenes_show_a_held_block(embodiment: str) -> None:
    env = env_without_images("place", embodiment=embodiment)
    held = []
    for seed in range(150):
        env.sample_scene(seed)
        world = env.world
        held.append(any(world.arm.holds(world, block.body) for block in world.blocks()))
    assert 0.22 < np.mean(held) < 0.45


def test_steps_without_images_are_the_same_steps() -> None:
    env, states = make_env("tabletop", task="place", image_size=32), []
    for wanted in (True, False):
        env.images_wanted = wanted
        observation, _ = env.reset(seed=5)
        assert observation["images"], "the first observation always has images"
        steps = [env.step(np.array([0.01, 0.0, -0.01, 0.0, 1.0], np.float32))[0] for _ in range(3)]
        assert all(bool(step["images"]) == wanted for step in steps)
        states.append([step["state"] for step in steps])
    np.testing.assert_array_equal(*states)
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_an_episode_continues_from_a_state_as_it_did(task: str) -> None:
    env = env_without_images(task)
    expert = Expert(env)
    observation, info = env.reset(seed=3)
    carry = expert.reset(info["instruction"])

    def act(steps: int) -> list[list[float]]:
        found = []
        for _ in range(steps):
            chunk, _ = expert.act(Observation(**observation), carry)
            after, reward, terminated, truncated, info = env.step(chunk.actions[0])
            found.append([*after["state"], *env.world.data.qpos, reward, terminated, truncated, info["success"]])
        return found

    act(6)
    state = env.get_state()
    first = act(8)
    env.step(env.action_space.high)
    for _ in range(2):
        env.set_state(state)
        assert act(8) == first


def test_a_state_of_another_scene_is_refused() -> None:
    place, other = env_without_images("place"), env_without_images("stack")
    for env in (place, other):
        env.reset(seed=1)
    with pytest.raises(ValueError, match="another scene"):
        place.set_state(other.get_state())
