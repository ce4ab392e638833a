"""Datasets of several robots, as joined ones may be: one line, wherever it shows, and their videos still serve."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from small_datasets import write_dataset
from test_reader import EPISODES, edit_info, edit_table

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.robot_file import robot_of
from wla.data.validation.dataset import check
from wla.training.datasets import open_sources
from wla.training.objectives.policy_data import common_robot_spec


def append(name: str, cells: list[str | None]) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.append_column(name, pa.array(cells[: len(table)], pa.string()))


def by_episode(root: Path, names: list[str | None]) -> None:
    """Episodes 0 and 1 are in the first file of `meta/episodes`, episode 2 in the second."""
    edit_table(root / EPISODES, append("robot_type", names[:2]))
    edit_table(root / EPISODES.replace("file-000", "file-001"), append("robot_type", names[2:]))


def by_task(root: Path, names: list[str | None]) -> None:
    """The task of episodes 0 and 2 is the first, that of episode 1 the second."""
    edit_table(root / "meta/tasks.parquet", append("robot_type", [names[0], names[1]]))


def by_frame(root: Path, names: list[str | None]) -> None:
    edit_info(root, lambda info: info["features"].update(robot_type={"dtype": "string", "shape": [1]}))
    frames = np.repeat(names, 10).tolist()
    for path, cells in zip(sorted(root.glob("data/*/*.parquet")), (frames[:20], frames[20:]), strict=True):
        edit_table(path, append("robot_type", cells))


PLACES = {"episodes": by_episode, "tasks": by_task, "frames": by_frame}


@pytest.mark.parametrize("place", PLACES)
def test_several_robots_are_one_line_in_training_and_in_the_check(place, root):
    PLACES[place](root, ["arm", "hand", "arm"])
    _, (dataset,) = open_sources([DatasetConfig(path=str(root), actions=False)])  # images and texts are anybody's
    line = (
        r"of 2 robots: 'arm' \(first in episode 0\), 'hand' \(first in episode 1\); split the dataset into one for each"
    )
    for refuse in (lambda: common_robot_spec([dataset]), lambda: robot_of(dataset, kinds=["absolute"])):
        with pytest.raises(ValueError, match=line):
            refuse()
    (issue,) = check(root)
    assert (issue.severity, issue.episode) == ("error", None)
    assert "of 2 robots" in issue.message


def test_videos_of_several_robots_are_no_error(tmp_path):
    root = write_dataset(tmp_path / "d", with_actions=False)
    by_episode(root, ["arm", "hand", "arm"])
    assert LeRobotDataset(root).robots == {"arm": 0, "hand": 1}
    assert check(root) == []


@pytest.mark.parametrize("place", PLACES)
def test_one_robot_that_is_named_everywhere_or_in_part_is_fine(place, root):
    PLACES[place](root, ["arm", None, "arm"])
    assert LeRobotDataset(root).robots == {"arm": 0}
    assert check(root) == []


def widen(root: Path, kind: Callable[[int], pa.DataType]) -> None:
    """The last episode, in the second file, is of a robot with five joints."""
    path = root / "data/chunk-000/file-001.parquet"

    def change(table: pa.Table) -> pa.Table:
        index = table.column_names.index("observation.state")
        return table.set_column(index, "observation.state", pa.array([[0.5] * 5] * len(table), kind(5)))

    edit_table(path, change)
    (root / "meta/wla_robot.json").unlink()


@pytest.mark.parametrize("kind", [lambda _: pa.list_(pa.float32()), lambda size: pa.list_(pa.float32(), size)])
def test_rows_of_two_widths_are_those_of_two_robots(kind, root):
    widen(root, kind)
    line = (
        r"'observation.state' has 3 numbers \(first in episode 0\), 5 numbers \(first in episode 2\), as of different"
    )
    with pytest.raises(ValueError, match=f"{line} robots; split the dataset"):
        LeRobotDataset(root)
    errors = [issue for issue in check(root) if issue.severity == "error"]
    assert [issue.message.partition(" (")[0] for issue in errors] == ["'observation.state' has 3 numbers"]
    assert LeRobotDataset(root, columns=Columns(state=())).state.shape == (30, 0), "nobody asked for it"
