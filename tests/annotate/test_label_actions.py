from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from wla.annotate.configs import LabelActionsConfig
from wla.annotate.inverse_dynamics import label_actions
from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.pseudo_actions import load_pseudo_actions
from wla.models.configs import InverseConfig
from wla.models.inverse_dynamics import InverseDynamics
from wla.policy.inverse_checkpoint import InverseCheckpoint, InverseCheckpointConfig, load_inverse


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("infer")
    tiny.write_dataset(root / "actions")
    tiny.write_dataset(root / "videos", with_actions=False)
    torch.manual_seed(0)
    sizes = InverseConfig(cameras={"front": 32, "wrist": 16}, action_dim=tiny.ACTION)
    action = tiny.statistics().action
    assert action is not None
    file = InverseCheckpointConfig(model=sizes, action=action, robot=tiny.robot_spec())
    InverseCheckpoint(file, InverseDynamics(sizes)).save(root / "inverse")
    return root


def config(root: Path, dataset: Path, out: Path) -> LabelActionsConfig:
    return LabelActionsConfig(inverse=str(root / "inverse"), dataset=dataset, out=out)


def test_every_frame_of_a_video_gets_an_action(root, tmp_path):
    assert label_actions(config(root, root / "videos", tmp_path / "a.parquet")) == (20, (), {})
    inverse, dataset = load_inverse(root / "inverse"), LeRobotDataset(root / "videos")
    predicted = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    np.testing.assert_allclose(predicted, inverse.actions(inverse.load_images(dataset, np.arange(20))), rtol=1e-5)


def test_the_error_is_reported_for_a_dataset_with_actions(root, tmp_path, capsys):
    arguments = ["data", "label-actions", str(root / "inverse"), "--dataset", str(root / "actions")]
    assert main([*arguments, "--out", str(tmp_path / "a.parquet")]) == 0
    predicted = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    recorded = LeRobotDataset(root / "actions").actions
    assert recorded is not None
    line = capsys.readouterr().out.splitlines()[-1]
    printed = dict(part.split() for part in line.removeprefix("mean absolute error: ").split(", "))
    assert list(printed) == list(tiny.robot_spec().action.names)
    errors = np.abs(predicted - recorded).mean(0)
    np.testing.assert_allclose([float(value) for value in printed.values()], errors, atol=1e-4)


def test_unreliable_dimensions_are_left_out(root, tmp_path, capsys):
    inverse = load_inverse(root / "inverse")
    explained_variance = (0.49, *[0.9] * (tiny.ACTION - 1))
    replace(inverse, config=inverse.config.replace(explained_variance=explained_variance)).save(tmp_path / "inverse")
    arguments = ["data", "label-actions", str(tmp_path / "inverse"), "--dataset", str(root / "actions")]
    assert main([*arguments, "--out", str(tmp_path / "a.parquet")]) == 0
    predicted = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    assert np.isnan(predicted).all(0).tolist() == [True, *[False] * (tiny.ACTION - 1)]
    first, second = tiny.robot_spec().action.names[:2]
    assert f"left out: {first}\nmean absolute error: {second} " in capsys.readouterr().out


def test_a_model_without_reliable_dimensions_is_refused(root, tmp_path):
    inverse = load_inverse(root / "inverse")
    unreliable = inverse.config.replace(explained_variance=(0.1,) * tiny.ACTION)
    replace(inverse, config=unreliable).save(tmp_path / "inverse")
    changed = config(root, root / "videos", tmp_path / "a.parquet").replace(inverse=str(tmp_path / "inverse"))
    with pytest.raises(ValueError, match="explains too little of every action dimension"):
        label_actions(changed)
    assert not (tmp_path / "a.parquet").exists()


def test_a_dataset_of_a_different_robot_is_refused(root, tmp_path):
    other = tiny.write_dataset(tmp_path / "other", with_actions=False)
    file = other / "meta/wla_robot.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"embodiment": "other"}))
    with pytest.raises(ValueError, match="embodiment"):
        label_actions(config(root, other, tmp_path / "a.parquet"))
    file.unlink()
    with pytest.raises(ValueError, match="is missing, so that nothing states what the numbers mean"):
        label_actions(config(root, other, tmp_path / "a.parquet"))
    assert not (tmp_path / "a.parquet").exists()
