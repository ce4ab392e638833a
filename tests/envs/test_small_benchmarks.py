"""Push-T and ALOHA: families of gymnasium environments of others, a short file each."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from wla.envs.registry import load_family, make_env
from wla.envs.seeds import require_seeds

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
TASKS = {"pusht": ("push_t",), "aloha": ("transfer_cube", "insertion")}


@pytest.mark.parametrize("name", TASKS)
def test_a_family_is_listed_without_its_packages(name: str) -> None:
    family = load_family(name)
    assert family.tasks == TASKS[name]
    extras = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(family.requirements) == set(extras[name])
    with pytest.raises(ValueError, match="seed 100000 is not for evaluation"):
        require_seeds([100_000], "evaluation", family.seeds)


@pytest.mark.parametrize("name", TASKS)
def test_what_is_missing_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(distribution: str) -> str:
        raise metadata.PackageNotFoundError(distribution)

    monkeypatch.setattr(metadata, "version", version)
    with pytest.raises(ValueError, match=rf"{name} needs gym-{name}==\d\.\d\.\d, which is not installed; run pip inst"):
        make_env(name, task=TASKS[name][0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "task"), [(name, task) for name, tasks in TASKS.items() for task in tasks])
def test_episodes_follow_from_their_seeds(name: str, task: str) -> None:
    pytest.importorskip(f"gym_{name}")
    env = make_env(name, task=task)
    starts = [env.reset(seed=seed)[0] for seed in (300_000, 300_001, 300_000)]
    camera = env.robot_spec.observation.primary_camera
    images = [start["images"][camera] for start in starts]
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])
    middle = np.float32(env.robot_spec.action.low) / 2 + np.float32(env.robot_spec.action.high) / 2
    raw, _, terminated, _, info = env.step(middle)
    assert raw["state"].shape == (env.robot_spec.observation.state_dim,)
    assert not terminated
    assert info["success"] is False
    env.close()
