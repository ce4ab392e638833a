"""The road from a dataset that somebody else recorded to an evaluated policy, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wla.cli.main import main
from wla.data.lerobot.writer import DatasetWriter
from wla.policy.wla_policy import load_policy
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.types import Observation

SHORT = ("loop.optim.steps=1", "loop.optim.warmup=0", "loop.batch_size=2", "loop.validation_samples=2")


def robot(dim: int, state_dim: int, cameras: dict[str, tuple[int, int]], rate_hz: float) -> RobotSpec:
    return RobotSpec(
        embodiment="invented",
        action=ActionSpec(
            names=tuple(f"joint {i}" for i in range(dim)),
            units=("rad",) * dim,
            kinds=("absolute",) * dim,
            low=(-1.0,) * dim,
            high=(1.0,) * dim,
            frame="joint",
            gripper="none",
            rate_hz=rate_hz,
        ),
        observation=ObservationSpec(
            cameras=cameras,
            state_names=tuple(f"joint {i}" for i in range(state_dim)),
            state_units=("rad",) * state_dim,
            state_frame="joint",
        ),
    )


def record(root: Path, spec: RobotSpec, *, episodes: int = 3, length: int = 12) -> None:
    """A dataset of the robot without its robot file and without subtasks."""
    rng = np.random.default_rng(0)
    observation, action = spec.observation, spec.action
    with DatasetWriter(root, spec) as writer:
        for _ in range(episodes):
            for _ in range(length):
                images = {
                    name: rng.integers(0, 256, (*size, 3), np.uint8) for name, size in observation.cameras.items()
                }
                state = rng.uniform(-1, 1, observation.state_dim).astype(np.float32)
                writer.add_frame(images, state, rng.uniform(-1, 1, action.dim).astype(np.float32))
            writer.end_episode("screw the lid on the jar", keep=True)
    (root / "meta/wla_robot.json").unlink()


ROBOTS = {
    "six joints": robot(6, 6, {"top": (240, 320)}, 30.0),
    "two arms and four cameras": robot(
        14, 14, {"high": (48, 64), "low": (64, 48), "left wrist": (60, 80), "right wrist": (30, 40)}, 50.0
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", ROBOTS.values(), ids=ROBOTS.keys())
@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_three_commands_lead_from_recordings_to_an_evaluated_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, spec: RobotSpec, fit: str
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "mine", spec)
    assert main(["init", "mine", "--action", "absolute", "--image-fit", fit, "--out", "mine.py"]) == 0
    assert main(["train", "mine.py", *SHORT, "--out", "run"]) == 0
    assert main(["eval-offline", "run", "--dataset", "mine", "--out", "offline"]) == 0
    printed = capsys.readouterr().out
    assert "1 episodes" in printed
    assert "2 others of the dataset are" in printed
    found = json.loads((tmp_path / "offline/offline.json").read_text())
    assert [each["name"] for each in found["dimensions"]] == list(spec.action.names)
    assert all(each["hold_still"] > 0 < each["mean_action"] for each in found["dimensions"])
    policy = load_policy("run")
    images = {name: np.zeros((*size, 3), np.uint8) for name, size in spec.observation.cameras.items()}
    state = np.zeros(spec.observation.state_dim, np.float32)
    chunk, _ = policy.act(Observation(images, state), policy.reset("screw the lid on the jar"))
    assert chunk.actions.shape == (6, spec.action.dim)  # half of the shortest episode
    assert not policy.predicts_subtasks


@pytest.mark.slow
def test_chunks_of_fifty_actions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "mine", robot(7, 7, {"top": (48, 64)}, 50.0), length=110)
    assert main(["init", "mine", "--action", "absolute", "--out", "mine.py"]) == 0
    assert main(["train", "mine.py", *SHORT, "--out", "run"]) == 0
    assert load_policy("run").chunk_size == 50


@pytest.mark.slow
def test_the_checkpoint_of_another_robot_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    record(tmp_path / "mine", ROBOTS["six joints"])
    assert main(["init", "mine", "--action", "absolute", "--out", "mine.py"]) == 0
    assert main(["train", "mine.py", *SHORT, "--out", "run"]) == 0
    capsys.readouterr()
    others = {
        "dimensions": (robot(7, 7, {"top": (240, 320)}, 30.0), "'observation.state' has shape (7,) and"),
        "rate": (robot(6, 6, {"top": (240, 320)}, 15.0), "fps is 15 and"),
        "camera": (robot(6, 6, {"side": (240, 320)}, 30.0), "camera 'top' is missing"),
    }
    for name, (spec, message) in others.items():
        record(tmp_path / name, spec)
        assert main(["eval-offline", "run", "--dataset", name, "--out", "offline"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "offline").exists()
