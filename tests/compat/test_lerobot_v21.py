"""LeRobot v2.1 to v3.0: lossless conversion, and errors for defective sources."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from foreign_datasets import CAMERAS, LENGTHS, TASKS, edit_json, make_image, psnr, write_jsonl, write_v21
from full_disk import full_disk
from hostile import TEXTS

from wla.compat import lerobot_v21
from wla.compat.lerobot_v21 import convert_v21
from wla.data.lerobot.episode_table import read_episodes
from wla.data.lerobot.format import read_info
from wla.data.lerobot.reader import LeRobotDataset

CLIP = "videos/chunk-000/observation.images.top/episode_000001.mp4"
ROWS = "data/chunk-000/episode_000001.parquet"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return write_v21(tmp_path_factory.mktemp("v21") / "old")


@pytest.fixture
def source(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "old"))


def old_column(source: Path, name: str) -> np.ndarray:
    return np.array([v for path in sorted(source.glob("data/*/*")) for v in pq.read_table(path)[name].to_pylist()])


def test_the_reader_returns_the_contents_of_the_source(pristine, tmp_path):
    assert convert_v21(pristine, tmp_path / "new") == 3
    dataset = LeRobotDataset(tmp_path / "new")
    np.testing.assert_array_equal(dataset.state, old_column(pristine, "observation.state"))
    np.testing.assert_array_equal(dataset.actions, old_column(pristine, "action"))
    assert [(len(e), e.instruction) for e in dataset.episodes] == [
        (length, TASKS[i % 2]) for i, length in enumerate(LENGTHS)
    ]
    assert dataset.cameras == {"top": (32, 48), "observation.image": (32, 48)}
    for index, camera in enumerate(dataset.cameras):
        for episode in dataset.episodes:
            for frame in range(len(episode)):
                image = dataset.frames(camera)[episode.start + frame]
                assert psnr(image, make_image(episode.index, frame, index)) > 28


@pytest.mark.parametrize("name", [name for name in TEXTS if name not in ("empty", "blank")])
def test_texts_of_lines_are_kept_or_refused(source, tmp_path, name):
    """JSON lines end at line feeds only, and a byte-order mark or a blank line is not one of them."""
    rows = [{"task_index": 0, "task": TEXTS[name]}, {"task_index": 1, "task": "x"}]
    text = "\ufeff" + "\n\n".join(json.dumps(row, ensure_ascii="surrogate" in name) for row in rows)
    (source / "meta/tasks.jsonl").write_text(text, encoding="utf-8")
    if "surrogate" in name:
        with pytest.raises(ValueError, match=r"tasks.jsonl: damaged JSON in line 1 .*half a character"):
            convert_v21(source, tmp_path / "new")
        return
    convert_v21(source, tmp_path / "new")
    assert LeRobotDataset(tmp_path / "new").instructions[0] == TEXTS[name]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("data_path", "../../outside/{episode_index}.parquet"),
        ("data_path", "/outside"),
        ("data_path", "{episode_chunk:>2000000000}"),
        ("video_path", "videos/../../outside/{episode_index}.mp4"),
        ("video_path", "{video_key.__class__}"),
        ("video_path", None),
        ("chunks_size", 0),
        ("fps", float("nan")),
    ],
)
def test_a_source_leads_nowhere_else(source, tmp_path, field, value):
    edit_json(source / "meta/info.json", **{field: value})
    with pytest.raises(ValueError, match=r"meta/info.json") as caught:
        convert_v21(source, tmp_path / "new")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "new").exists()


def test_a_camera_s_name_leads_nowhere_else(source, tmp_path):
    edit_json(source / "meta/info.json", video_path="videos/chunk-{episode_chunk:03d}/top/{episode_index:06d}.mp4")
    info = json.loads((source / "meta/info.json").read_text())
    info["features"]["../../../../outside"] = info["features"].pop(CAMERAS[0])
    info["features"].pop(CAMERAS[1])
    (source / "meta/info.json").write_text(json.dumps(info))
    (source / "videos/chunk-000/top").mkdir()
    for path in (source / "videos/chunk-000" / CAMERAS[0]).iterdir():
        path.rename(source / "videos/chunk-000/top" / path.name.removeprefix("episode_"))
    with pytest.raises(ValueError, match=r"the path .* leads out of its folder"):
        convert_v21(source, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]


@pytest.mark.parametrize("file", ["episodes.jsonl", "tasks.jsonl", "episodes_stats.jsonl"])
@pytest.mark.parametrize("value", [None, float("nan"), -1, True, "x", [], {}, [None], [[1]], 1e300])
def test_wrong_values_of_lines_are_refused_or_converted(source, tmp_path, file, value):
    lines = [json.loads(line) for line in (source / "meta" / file).read_text().splitlines()]
    variants = [[*lines[:1], line | {key: value}, *lines[2:]] for line in lines[1:2] for key in line]
    if "stats" in lines[0]:
        part = lines[1]["stats"]["action"]
        stats = [
            lines[1]["stats"] | {"action": value},
            *(lines[1]["stats"] | {"action": part | {k: value}} for k in part),
        ]
        variants += [[lines[0], lines[1] | {"stats": each}, *lines[2:]] for each in stats]
    for number, rows in enumerate(variants):
        write_jsonl(source / "meta" / file, rows)
        message = str(source)
        try:
            convert_v21(source, tmp_path / f"new{number}")
        except ValueError as error:
            message = str(error)
        assert message.isprintable()
        assert str(source) in message


@pytest.mark.parametrize("file", ["episodes.jsonl", "tasks.jsonl", "episodes_stats.jsonl", "info.json"])
def test_a_git_lfs_pointer_is_called_that(source, tmp_path, file):
    (source / "meta" / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n")
    with pytest.raises(ValueError, match=f"{file}: is a Git LFS pointer"):
        convert_v21(source, tmp_path / "new")


def test_unknown_columns_and_fields_are_kept(pristine, tmp_path):
    convert_v21(pristine, tmp_path / "new")
    table = pq.read_table(tmp_path / "new/data/chunk-000/file-000.parquet")
    np.testing.assert_array_equal(table["effort"].to_numpy(), old_column(pristine, "effort"))
    rows = pq.read_table(tmp_path / "new/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [row["scene"] for row in rows] == ["s0", "s1", "s2"]
    info = json.loads((tmp_path / "new/meta/info.json").read_text())
    assert (info["by_someone"], info["robot_type"], info["codebase_version"]) == ("else", "arm", "v3.0")
    assert not {"total_chunks", "total_videos"} & info.keys()


def test_videos_are_copied_unchanged(pristine, tmp_path):
    convert_v21(pristine, tmp_path / "new")
    for number in range(3):
        for key in CAMERAS:
            old = pristine / f"videos/chunk-000/{key}/episode_{number:06d}.mp4"
            assert (tmp_path / f"new/videos/{key}/chunk-000/file-{number:03d}.mp4").read_bytes() == old.read_bytes()


def test_statistics_are_copied_and_joined(pristine, tmp_path):
    convert_v21(pristine, tmp_path / "new")
    old = [json.loads(line)["stats"] for line in (pristine / "meta/episodes_stats.jsonl").read_text().splitlines()]
    rows = read_episodes(tmp_path / "new", read_info(tmp_path / "new"), with_stats=True)[0]
    assert rows[1]["stats/action/mean"] == old[1]["action"]["mean"]
    assert rows[2]["stats/effort/q50"] == old[2]["effort"]["q50"]
    assert np.shape(rows[0]["stats/observation.image/min"]) == (3, 1, 1)
    stats = json.loads((tmp_path / "new/meta/stats.json").read_text())
    actions = old_column(pristine, "action")
    np.testing.assert_allclose(stats["action"]["mean"], actions.mean(0), rtol=1e-6)
    np.testing.assert_allclose(stats["action"]["std"], actions.std(0), rtol=1e-6)
    assert stats["action"]["count"] == [sum(LENGTHS)]
    assert "q50" not in stats["effort"]


def test_many_frames_become_several_files(pristine, tmp_path, monkeypatch):
    limits = []

    class Small(lerobot_v21._DataFiles):
        def __init__(self, root, megabytes):
            super().__init__(root, megabytes)
            limits.append(self._limit)
            self._limit = 800

    monkeypatch.setattr(lerobot_v21, "_DataFiles", Small)
    convert_v21(pristine, tmp_path / "new")
    assert limits == [100_000_000]
    assert len(list((tmp_path / "new/data").rglob("*.parquet"))) > 1
    np.testing.assert_array_equal(LeRobotDataset(tmp_path / "new").actions, old_column(pristine, "action"))


def test_single_images_stay_in_the_data(source, tmp_path):
    for path in sorted(source.glob("data/*/*")):
        table = pq.read_table(path)
        cells = [{"bytes": b"png", "path": None}] * len(table)
        pq.write_table(table.append_column("observation.images.wrist", pa.array(cells)), path)
    info = json.loads((source / "meta/info.json").read_text())
    info["features"]["observation.images.wrist"] = {"dtype": "image", "shape": [4, 4, 3], "names": None}
    for key in CAMERAS:
        info["features"].pop(key)
    edit_stats(source, lambda stats: [stats.pop(key) for key in CAMERAS], every=True)
    edit_json(source / "meta/info.json", features=info["features"], video_path=None)
    convert_v21(source, tmp_path / "new")
    table = pq.read_table(tmp_path / "new/data/chunk-000/file-000.parquet")
    assert table["observation.images.wrist"][0].as_py() == {"bytes": b"png", "path": None}
    assert not (tmp_path / "new/videos").exists()
    assert json.loads((tmp_path / "new/meta/info.json").read_text())["video_path"] is None


def drop(path: Path, number: int) -> None:
    rows = path.read_text().splitlines()
    path.write_text("\n".join(row for i, row in enumerate(rows) if i != number) + "\n")


def edit_stats(root: Path, change: Callable[[dict], object], *, every: bool = False) -> None:
    path = root / "meta/episodes_stats.jsonl"
    rows = [json.loads(row) for row in path.read_text().splitlines()]
    for row in rows if every else rows[1:2]:
        change(row["stats"])
    write_jsonl(path, rows)


def edit_rows(root: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    pq.write_table(change(pq.read_table(root / ROWS)), root / ROWS)


def episode_lines(root: Path, **fields: Callable[[int], object]) -> None:
    rows = [{"episode_index": i, "length": n, "tasks": ["x"]} for i, n in enumerate(LENGTHS)]
    lines = [row | {name: value(i) for name, value in fields.items()} for i, row in enumerate(rows)]
    write_jsonl(root / "meta/episodes.jsonl", lines)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no episodes file": (lambda root: (root / "meta/episodes.jsonl").unlink(), "meta/episodes.jsonl: file is missing"),
    "no episodes": (lambda root: (root / "meta/episodes.jsonl").write_text(""), "contains no episodes; there is"),
    "half a line": (
        lambda root: (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "ta'),
        "meta/tasks.jsonl: damaged JSON in line 1",
    ),
    "no number": (
        lambda root: (root / "meta/tasks.jsonl").write_text('{"task": "x"}'),
        "meta/tasks.jsonl: line 1 has no number 'task_index'",
    ),
    "gap": (
        lambda root: drop(root / "meta/episodes.jsonl", 1),
        r"episode_index must count from 0 without gaps, it is \[0, 2\]",
    ),
    "fewer stats": (
        lambda root: drop(root / "meta/episodes_stats.jsonl", 2),
        "episodes_stats.jsonl: has 2 episodes, .*episodes.jsonl 3; restore it",
    ),
    "stats of another feature": (
        lambda root: edit_stats(root, lambda stats: stats.pop("effort")),
        "episode 1 and episode 0 differ in 'effort'",
    ),
    "stats without mean": (
        lambda root: edit_stats(root, lambda stats: stats["action"].pop("mean")),
        "episode 1, 'action' lacks one of",
    ),
    "no tasks": (
        lambda root: episode_lines(root, tasks=lambda number: []),
        "episodes.jsonl: episode 0 needs a length and tasks",
    ),
    "fields of different types": (
        lambda root: episode_lines(root, field=lambda number: [number, "b"][number % 2]),
        "the episodes in meta/.* have values of different types",
    ),
    "no data": (lambda root: (root / ROWS).unlink(), f"{ROWS}: file is missing"),
    "cut data": (lambda root: (root / ROWS).write_bytes(b"PAR1"), f"{ROWS}: damaged parquet"),
    "rows": (
        lambda root: edit_rows(root, lambda table: table.slice(1)),
        f"{ROWS}: has 3 rows, but 4 in meta/episodes.jsonl",
    ),
    "columns": (
        lambda root: edit_rows(root, lambda table: table.drop_columns(["effort"])),
        f"{ROWS}: columns differ from those of the other episodes",
    ),
    "no video": (lambda root: (root / CLIP).unlink(), f"{CLIP}: video file is missing"),
    "damaged video": (lambda root: (root / CLIP).write_bytes(b"x" * 999), f"{CLIP}: damaged video"),
    "short video": (
        lambda root: shutil.copy(root / CLIP.replace("1.mp4", "0.mp4"), root / CLIP),
        f"{CLIP}: has 6 frames, episode 1 has 4",
    ),
    "foreign path": (
        lambda root: edit_json(root / "meta/info.json", data_path="data/{file}.parquet"),
        "info.json: 'data/{file}.parquet' is not a path template of {episode_chunk}, {episode_index}",
    ),
    "no video path": (
        lambda root: edit_json(root / "meta/info.json", video_path=None),
        "info.json: has the video 'observation.images.top' but no video_path",
    ),
    "no fps": (lambda root: edit_json(root / "meta/info.json", fps=0), "fps.*: Input should be greater than 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_defective_source_is_refused_and_leaves_nothing_behind(name, source, tmp_path):
    damage, message = BAD[name]
    damage(source)
    with pytest.raises(ValueError, match=message) as caught:
        convert_v21(source, tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_an_existing_folder_is_not_replaced(pristine, tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'new'}: exists already; give a new folder")):
        convert_v21(pristine, tmp_path / "new")


def test_a_full_disk_leaves_nothing_behind(pristine, tmp_path):
    with full_disk(1500), pytest.raises(ValueError, match=r"new: cannot write \(.*\); nothing was left behind"):
        convert_v21(pristine, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing_behind(pristine, tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(lerobot_v21, "_write_episodes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        convert_v21(pristine, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_statistics_that_are_absent_are_computed(version, tmp_path):
    """v2.0 has none by episode, and neither have datasets that others made of it."""
    source = write_v21(tmp_path / "old")
    convert_v21(source, tmp_path / "complete")
    (source / "meta/episodes_stats.jsonl").unlink()
    edit_json(source / "meta/info.json", codebase_version=version)
    convert_v21(source, tmp_path / "new")
    ours, theirs = (json.loads((tmp_path / name / "meta/stats.json").read_text()) for name in ("new", "complete"))
    assert theirs.keys() <= ours.keys()
    for name in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(ours["observation.state"][name], theirs["observation.state"][name], rtol=1e-5)
    assert [key for key in ours if np.shape(ours[key]["mean"]) == (3, 1, 1)]
    np.testing.assert_array_equal(LeRobotDataset(tmp_path / "new").state, LeRobotDataset(tmp_path / "complete").state)
