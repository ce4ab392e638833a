"""LeRobot v2.0 and v2.1 read where they lie: the numbers, texts and frames of their conversion; nothing is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from foreign_datasets import CAMERAS, edit_json, write_v21

from wla.cli.main import main
from wla.compat.lerobot_v21 import convert_v21
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.dataset import check
from wla.data.validation.issues import count_errors
from wla.presets.recipe import load_recipe
from wla.training.data_fingerprint import _fingerprint


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_v21(tmp_path_factory.mktemp("v21") / "old")


@pytest.fixture
def source(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "old"))


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".cache" not in path.parts}


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_it_is_read_as_its_conversion_is(source, tmp_path, version):
    convert_v21(source, tmp_path / "new")
    edit_json(source / "meta/info.json", codebase_version=version, chunks_size=2)
    (source / "data/chunk-001").mkdir()
    for path in source.glob("*/chunk-000/**/episode_000002.*"):  # the third episode is in the second chunk
        target = Path(str(path).replace("chunk-000", "chunk-001"))
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    if version == "v2.0":
        (source / "meta/episodes_stats.jsonl").unlink()
    ours, theirs = LeRobotDataset(source), LeRobotDataset(tmp_path / "new")
    assert ours.episodes == theirs.episodes
    assert ours.instructions == theirs.instructions
    for name in ("state", "actions", "task_index"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    order = np.array([14, 0, 7, 6])
    for camera in ("top", "observation.image"):
        np.testing.assert_array_equal(ours.frames(camera), theirs.frames(camera))
        np.testing.assert_array_equal(ours.random_access_frames(camera)[order], theirs.frames(camera)[order])
    assert count_errors(check(source)) == 0


def test_it_can_be_looked_at_and_trained_on(source, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = files(source)
    assert main(["data", "view", "old", "--out", "old.html"]) == 0
    assert "3 of 3 episodes" in capsys.readouterr().out
    assert len(list(Path("old_files").rglob("*.mp4"))) == 3 * len(CAMERAS)
    assert main(["init", "old", "--action", "absolute", "--out", "mine.py"]) == 0
    (config,) = load_recipe("mine.py").datasets
    assert config.open().require_robot().action.dim == 2
    assert [each.path for each in DatasetConfig(path="old").expand()] == ["old"]
    assert files(source) == before


def test_it_is_not_written(source, capsys):
    before = files(source)
    (source.parent / "labels.csv").write_text("episode,first_frame,last_frame,text\n0,0,5,reach\n")
    assert main(["annotate", str(source), "--csv", str(source.parent / "labels.csv")]) == 2
    assert "v2.1 is only read, not written; convert it with `wla data convert" in capsys.readouterr().err
    assert files(source) == before


def test_a_changed_dataset_has_another_fingerprint(source):
    before = _fingerprint(source)
    lines = (source / "meta/episodes.jsonl").read_text().replace("s1", "s2")
    (source / "meta/episodes.jsonl").write_text(lines)
    assert _fingerprint(source) != before


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("episodes", '{"episode_index": 0, "length": 6}', "episodes.jsonl: episode 0 needs a length and its tasks"),
        ("episodes", '{"episode_index": 1, "length": 6, "tasks": []}', "episode_index must count from 0"),
        ("episodes", "{", "episodes.jsonl: "),
        ("tasks", '{"task_index": 0}', "tasks.jsonl: task 0 has no text"),
        ("tasks", "", "task_index 0 is not in meta/tasks"),
    ],
)
def test_damaged_lines_are_one_line(source, name, text, match):
    (source / f"meta/{name}.jsonl").write_text(text)
    with pytest.raises(ValueError, match=match) as caught:
        LeRobotDataset(source)
    assert "\n" not in str(caught.value)
    assert any(issue.severity == "error" for issue in check(source))


@pytest.mark.parametrize("chunks", [0, "many", None, 1.5])
def test_a_number_of_files_per_chunk_that_is_none_is_one_line(source, chunks):
    edit_json(source / "meta/info.json", chunks_size=chunks)
    with pytest.raises(ValueError, match=r"chunks_size is .*, it must be a number from 1 on"):
        LeRobotDataset(source)


def test_robots_that_its_episodes_name_are_found(source):
    lines = [json.loads(line) for line in (source / "meta/episodes.jsonl").read_text().splitlines()]
    lines = [line | {"robot_type": f"arm {line['episode_index'] // 2}"} for line in lines]
    (source / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match="of 2 robots"):
        LeRobotDataset(source).require_robot()
