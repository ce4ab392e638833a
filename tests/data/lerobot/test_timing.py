"""Times of frames: gaps, through which nothing is learned, and times that do not matter for single images."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_datasets import image
from test_loader import make_sampler, sample_batch
from test_reader import DATA, EPISODES, edit_info, edit_table

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.timing import Clock
from wla.data.validation.dataset import check

CAMERAS = ("front", "wrist")
GAP = "frames are missing, or time jumps, before episode 1 frame 4"


def leave_out(root: Path, first: int, last: int) -> None:
    """Removes rows of the second episode, as a program does that drops frames of a recording and keeps its videos."""
    removed = last - first + 1
    edit_table(root / DATA, lambda t: pa.concat_tables([t.slice(0, 10 + first), t.slice(11 + last)]))

    def shorten(table: pa.Table) -> pa.Table:
        for name, change in (("length", removed), ("dataset_to_index", removed)):
            cells = table[name].to_pylist()
            cells[1] -= change
            table = table.set_column(table.column_names.index(name), name, pa.array(cells))
        return table.drop_columns(["action_executed"])

    edit_table(root / EPISODES, shorten)
    later = root / EPISODES.replace("file-000", "file-001")
    edit_table(later, lambda t: t.drop_columns(["action_executed", "dataset_from_index", "dataset_to_index"]))
    edit_info(root, lambda info: info.update(total_frames=30 - removed))


def as_images(root: Path, times: list[float]) -> None:
    """Makes both cameras single images, and gives the frames of each episode these times."""

    def cells(name: str, frames: list[int]) -> pa.Array:
        stored = []
        for frame in frames:
            file = io.BytesIO()
            Image.fromarray(image(CAMERAS.index(name), frame)).save(file, "PNG")
            stored.append({"bytes": file.getvalue(), "path": None})
        return pa.array(stored)

    for path in root.glob("data/*/*.parquet"):
        table = pq.read_table(path)
        frames = table["frame_index"].to_pylist()
        for name in CAMERAS:
            table = table.append_column(f"observation.images.{name}", cells(name, frames))
        at = table.column_names.index("timestamp")
        pq.write_table(table.set_column(at, "timestamp", pa.array([times[each] for each in frames])), path)
    info = json.loads((root / "meta/info.json").read_text())
    for name in CAMERAS:
        info["features"][f"observation.images.{name}"]["dtype"] = "image"
    (root / "meta/info.json").write_text(json.dumps(info))


def lines(root: Path, severity: str) -> list[str]:
    return [issue.message for issue in check(root) if issue.severity == severity]


def test_frames_that_were_left_out_leave_a_gap(root):
    whole = LeRobotDataset(root)
    kept = np.array([*range(14), *range(17, 30)])
    state, frames = whole.state[kept], np.array(whole.frames("front"))[kept]
    leave_out(root, 4, 6)
    dataset = LeRobotDataset(root)
    np.testing.assert_array_equal(dataset.state, state)
    np.testing.assert_array_equal(dataset.frames("front"), frames)
    np.testing.assert_array_equal(dataset.random_access_frames("front")[np.arange(27)], frames)
    np.testing.assert_array_equal(np.unique(dataset.run_end), [10, 14, 17, 27])
    assert any(note.startswith(f"{GAP} (0.4 s)") for note in dataset.notes)
    assert any(line.startswith(GAP) for line in lines(root, "warning"))
    assert not lines(root, "error")


def test_no_chunk_and_no_subgoal_goes_across_a_gap(root):
    leave_out(root, 4, 6)
    batch = sample_batch(make_sampler([LeRobotDataset(root)], chunk=3), size=200)
    ends = {0: [10], 1: [4, 7], 2: [10]}
    seen = set()
    for index, name in enumerate(batch.ids):
        episode, frame = int(name.split()[-3]), int(name.split()[-1])
        left = min(end for end in ends[episode] if end > frame) - frame
        assert batch.action_mask[index, :, 0].tolist() == [step < left for step in range(3)]
        assert bool(batch.subgoal_mask[index]) == (left > 3)
        seen.add((episode, frame))
    assert len(seen) == 27


STEP = np.arange(10)


@pytest.mark.parametrize(
    ("times", "runs"),
    [
        (STEP * 0.1 + np.where(STEP < 4, 0, 0.25), 2),
        (np.where(STEP < 6, STEP, STEP - 6) * 0.1, 2),
        (STEP * 0.1017, 1),
        (STEP * 0.0, 1),
        (STEP * 0.1 + 1.7e9, 1),
    ],
    ids=["a gap", "time begins again", "another clock", "no times", "since 1970"],
)
def test_single_images_are_read_in_the_order_of_their_rows(root, times, runs):
    as_images(root, times.tolist())
    dataset = LeRobotDataset(root)
    for frame in (3, 17):
        np.testing.assert_array_equal(dataset.frames("front")[frame], image(0, frame % 10))
    assert len(np.unique(dataset.run_end)) == 3 * runs
    assert not lines(root, "error")
    regular = np.abs(times - times[0] - STEP * 0.1).max() < 0.05
    assert any("time" in line for line in lines(root, "warning")) == (not regular)


def test_a_gap_that_the_video_does_not_have_is_refused(root):
    times = pa.array([*(STEP * 0.1), *(STEP * 0.1 + np.where(STEP < 4, 0, 0.3))], pa.float32())
    edit_table(root / DATA, lambda t: t.set_column(t.column_names.index("timestamp"), "timestamp", times))
    with pytest.raises(ValueError, match=r"episode 1 is 10 frames long, the last at 1\.2 s, and its part of the video"):
        LeRobotDataset(root).frames("front")
    assert any("the last at 1.2 s" in line for line in lines(root, "error"))


def test_jitter_is_no_gap():
    times = STEP * 0.1 + np.tile([0, 0.04, -0.04, 0.0, 0.02], 2)
    runs, untimely = Clock(10.0, by_time=True).runs(STEP, times, np.array([0]), np.array([10]))
    assert [(run.first, run.length) for run in runs] == [(0, 10)]
    assert not untimely
