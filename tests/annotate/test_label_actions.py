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
from wla.models.inverse_dynamics import InverseConfig, InverseDynamics
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


def ask(root: Path, dataset: Path, out: Path) -> LabelActionsConfig:
    return LabelActionsConfig(inverse=str(root / "inverse"), dataset=dataset, out=out)


def test_every_frame_of_a_video_gets_an_action(root, tmp_path):
    assert label_actions(ask(root, root / "videos", tmp_path / "a.parquet")) == (20, (), {})
    inverse, dataset = load_inverse(root / "inverse"), LeRobotDataset(root / "videos")
    found = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    np.testing.assert_allclose(found, inverse.actions(inverse.load_images(dataset, np.arange(20))), rtol=1e-5)


def test_where_actions_are_known_it_says_how_far_off_it_is(root, tmp_path, capsys):
    words = ["data", "label-actions", str(root / "inverse"), "--dataset", str(root / "actions")]
    assert main([*words, "--out", str(tmp_path / "a.parquet")]) == 0
    found = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    known = LeRobotDataset(root / "actions").actions
    assert known is not None
    line = capsys.readouterr().out.splitlines()[-1]
    said = dict(part.split() for part in line.removeprefix("mean absolute error: ").split(", "))
    assert list(said) == list(tiny.robot_spec().action.names)
    np.testing.assert_allclose([float(each) for each in said.values()], np.abs(found - known).mean(0), atol=1e-4)


def test_dimensions_that_frames_do_not_tell_are_left_out(root, tmp_path, capsys):
    inverse = load_inverse(root / "inverse")
    explained_variance = (0.49, *[0.9] * (tiny.ACTION - 1))
    replace(inverse, config=inverse.config.replace(explained_variance=explained_variance)).save(tmp_path / "inverse")
    words = ["data", "label-actions", str(tmp_path / "inverse"), "--dataset", str(root / "actions")]
    assert main([*words, "--out", str(tmp_path / "a.parquet")]) == 0
    found = load_pseudo_actions(tmp_path / "a.parquet", 20, tiny.ACTION)
    assert np.isnan(found).all(0).tolist() == [True, *[False] * (tiny.ACTION - 1)]
    first, second = tiny.robot_spec().action.names[:2]
    said = capsys.readouterr().out
    assert f"left out: {first}\nmean absolute error: {second} " in said


def test_a_model_that_tells_nothing_is_refused(root, tmp_path):
    inverse = load_inverse(root / "inverse")
    unsure = inverse.config.replace(explained_variance=(0.1,) * tiny.ACTION)
    replace(inverse, config=unsure).save(tmp_path / "inverse")
    config = ask(root, root / "videos", tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="explains too little of every dimension"):
        label_actions(config.replace(inverse=str(tmp_path / "inverse")))
    assert not (tmp_path / "a.parquet").exists()


def test_a_dataset_of_another_robot_is_refused(root, tmp_path):
    other = tiny.write_dataset(tmp_path / "other", with_actions=False)
    file = other / "meta/wla_robot.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"embodiment": "other"}))
    with pytest.raises(ValueError, match="embodiment"):
        label_actions(ask(root, other, tmp_path / "a.parquet"))
    file.unlink()
    with pytest.raises(ValueError, match="does not say which robot"):
        label_actions(ask(root, other, tmp_path / "a.parquet"))
    assert not (tmp_path / "a.parquet").exists()
