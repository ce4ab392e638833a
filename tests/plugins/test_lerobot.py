"""The plugins in LeRobot's own commands, unmodified, in an environment that the variable WLA_LEROBOT_PYTHON names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wla import load_policy
from wla.data import LeRobotDataset
from wla.policy import load_checkpoint

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("WLA_LEROBOT_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON,
        reason="WLA_LEROBOT_PYTHON is not set: the Python of an environment with lerobot[training] and with the "
        "dependencies of this package",
    ),
]
SEED = 310000
TRAIN = (
    *("--policy.push_to_hub=false", "--batch_size=8", "--num_workers=0", "--wandb.enable=false", "--seed=1"),
    *("--dataset.repo_id=local/tiny", "--policy.scheduler_warmup_steps=1", "--policy.optimizer_lr=1e-3"),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugins as they are installed: LeRobot finds them by the names of their distributions."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copytree(ROOT / "plugins", folder / "plugins")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", folder / "site"]
    sources = sorted((folder / "plugins").iterdir())
    subprocess.run([PYTHON, "-m", "pip", "install", *options, *sources], check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lerobot")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Path:
    """Four episodes of the expert."""
    command = [sys.executable, "-m", "wla", "collect", "--tasks", "place", "--episodes", "4", "--out", "datasets"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (info,) = (folder / "datasets").rglob("meta/info.json")
    return info.parents[1]


def run_python(arguments: list[str | Path], folder: Path, *paths: Path) -> str:
    """Output of a Python process in `folder`, of LeRobot's environment."""
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"), "1")
    environment = {**os.environ, **offline, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [PYTHON, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def evaluate(policy: list[str], folder: Path, site: Path, *, episodes: int) -> list[bool]:
    """Successes of lerobot-eval on the task place."""
    shutil.rmtree(folder / "evaluation", ignore_errors=True)
    options = [f"--eval.n_episodes={episodes}", f"--eval.batch_size={episodes}", f"--seed={SEED}"]
    environment = ["--env.type=wla_tabletop", "--env.task=place", "--output_dir=evaluation"]
    run_python(["-m", "lerobot.scripts.lerobot_eval", *policy, *environment, *options], folder, ROOT / "src", site)
    (task,) = json.loads((folder / "evaluation/eval_info.json").read_text())["per_task"]
    successes: list[bool] = task["metrics"]["successes"]
    return successes


def test_lerobot_eval_runs_a_bundled_policy(site: Path, folder: Path) -> None:
    run_python(["-m", "lerobot_policy_wla", "to-lerobot", "nano-tabletop", "policy"], folder, ROOT / "src", site)
    written = {path.name for path in (folder / "policy").iterdir()}
    assert written >= {"config.json", "model.safetensors", "policy_preprocessor.json", "policy_postprocessor.json"}
    assert json.loads((folder / "policy/config.json").read_text())["type"] == "wla"
    assert any(evaluate(["--policy.path=policy"], folder, site, episodes=2))


def test_lerobot_train_trains_what_both_packages_run(site: Path, folder: Path, dataset: Path) -> None:
    command = ["--policy.type=wla", "--policy.chunk_size=8", "--steps=40", "--save_freq=40", "--log_freq=5", *TRAIN]
    places = [f"--dataset.root={dataset}", "--output_dir=trained"]
    log = run_python(["-m", "lerobot.scripts.lerobot_train", *command, *places], folder, ROOT / "src", site)
    losses = [float(value) for value in re.findall(r"\bloss:([\d.]+)", log)]
    assert len(losses) == 8
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    trained = "trained/checkpoints/last/pretrained_model"
    assert len(evaluate([f"--policy.path={trained}"], folder, site, episodes=1)) == 1
    run_python(["-m", "lerobot_policy_wla", "to-wla", trained, "converted"], folder, ROOT / "src", site)
    assert load_policy(folder / "converted").predicts_subtasks
    checkpoint, recorded = load_checkpoint(folder / "converted"), LeRobotDataset(dataset)
    assert checkpoint.config.trained_steps == 40
    assert checkpoint.training_data is not None
    assert checkpoint.training_data.held_out(recorded) == []
    np.testing.assert_allclose(checkpoint.robot.statistics.state.min, recorded.state.min(0), rtol=1e-6)


def test_what_the_plugin_converts_is_what_the_package_has(site: Path, folder: Path, dataset: Path) -> None:
    checks = ROOT / "tests/plugins/lerobot_checks.py"
    output = run_python([checks, dataset], folder, ROOT / "src", site)
    assert "all checks passed" in output
