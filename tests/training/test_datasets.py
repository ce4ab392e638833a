from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.specs import RobotSpec
from wla.training.datasets import open_datasets, open_sources
from wla.training.objectives.policy_data import common_robot_spec, require_instructions


def write_episodes(root: Path, *seeds: int | None) -> str:
    with DatasetWriter(root, tiny.robot_spec()) as writer:
        for seed in seeds:
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(tiny.ACTION, np.float32), tiny.SUBTASKS[0])
            writer.end_episode("wait", keep=True, seed=seed)
    return str(root)


def test_a_folder_of_datasets_is_expanded(tmp_path):
    first, second = write_episodes(tmp_path / "all/first", 0), write_episodes(tmp_path / "all/second", 9_999)
    sources, datasets = open_sources([DatasetConfig(path=str(tmp_path / "all"), weight=1.0)])
    assert [source.path for source in sources] == [str(dataset.root) for dataset in datasets] == [first, second]
    assert [source.weight for source in sources] == [0.5, 0.5]


def test_hidden_folders_of_a_folder_of_datasets_are_left_alone(tmp_path):
    """What programs leave behind, a dataset among it, as in `.ipynb_checkpoints`; the folder itself may be hidden."""
    root = tmp_path / ".all"
    first = write_episodes(root / "first", 0)
    for hidden in (root / ".ipynb_checkpoints/first", root / "first_too/.cache/old"):
        write_episodes(hidden, 1)
    assert [source.path for source in DatasetConfig(path=str(root)).expand()] == [first]
    with pytest.raises(ValueError, match="neither a LeRobot dataset"):
        DatasetConfig(path=str(root / "first_too")).expand()


@pytest.mark.parametrize("seed", [10_000, 100_000])
def test_validation_and_evaluation_episodes_are_refused(tmp_path, seed):
    root = write_episodes(tmp_path / "data", 0, seed)
    with pytest.raises(ValueError, match=f"data: seed {seed} is not for training"):
        open_datasets([root])


def test_episodes_without_a_seed_are_accepted(tmp_path):
    assert len(open_datasets([write_episodes(tmp_path / "data", None)])) == 1


def open_mixture(*specs: RobotSpec, root: Path) -> RobotSpec:
    datasets = []
    for number, spec in enumerate(specs):
        with DatasetWriter(root / str(number), spec) as writer:
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(tiny.ACTION, np.float32))
            writer.end_episode("wait", keep=True)
        datasets.append(LeRobotDataset(root / str(number)))
    return common_robot_spec(datasets)


def with_limits(low: float, high: float, origin: str) -> RobotSpec:
    spec = tiny.robot_spec()
    limits = {"low": (low,) * tiny.ACTION, "high": (high,) * tiny.ACTION, "limits": origin}
    return spec.replace(action=spec.action.replace(**limits))


def test_limits_from_data_reach_as_far_as_any_dataset_of_the_mixture(tmp_path):
    specs = (with_limits(-1, 0.5, "data"), with_limits(-0.5, 2, "data"))
    action = open_mixture(*specs, root=tmp_path).action
    assert (set(action.low), set(action.high), action.limits) == ({-1.0}, {2.0}, "data")


def test_stated_limits_win_over_those_from_data(tmp_path):
    specs = (with_limits(-9, 9, "data"), with_limits(-1, 1, "stated"))
    assert open_mixture(*specs, root=tmp_path).action == specs[1].action


def test_two_robots_in_one_policy_are_one_line(tmp_path):
    specs = (tiny.robot_spec(), tiny.robot_spec().replace(embodiment="another"))
    with pytest.raises(ValueError, match=r"for different robots: embodiment is 'toy' in .*0 and 'another' in .*1"):
        open_mixture(*specs, root=tmp_path)


@pytest.mark.parametrize(
    ("instruction", "message"),
    [("  ", "episode 1: has no instruction"), ("a long one " * 20, r"episode 1: its instruction has \d+ tokens")],
)
def test_instructions_that_a_policy_would_not_take_are_found_before_training(tmp_path, instruction, message):
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        for text in ("wait", instruction):
            observation = tiny.observation()
            writer.add_frame(observation.images, observation.state, np.zeros(tiny.ACTION, np.float32))
            writer.end_episode(text, keep=True)
    checkpoint = tiny.checkpoint()
    with pytest.raises(ValueError, match=message):
        require_instructions([LeRobotDataset(tmp_path / "data")], checkpoint)
