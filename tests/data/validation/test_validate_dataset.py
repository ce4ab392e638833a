"""Validation of a whole dataset: every kind of problem with its episode, and all at once."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rich.console import Console
from small_datasets import image, write_dataset
from test_reader import DATA, EPISODES, VIDEO, cut, drop_column, edit_info, edit_table, feature, set_cell
from test_reader import write_other_video as other_video

from wla.data.lerobot.columns import Columns
from wla.data.validation.dataset import check
from wla.data.validation.issues import Issue, count_errors, issues_table


def lines_of(issues: list[Issue]) -> list[str]:
    return [f"{issue.severity} {issue.episode}: {issue.message} -> {issue.fix}" for issue in issues]


def test_a_valid_dataset_has_no_issues(pristine, tmp_path):
    root = Path(shutil.copytree(pristine, tmp_path / "d"))
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert check(root) == []
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_dataset_without_actions_or_subtasks_is_valid(tmp_path):
    root = write_dataset(tmp_path / "d", with_actions=False)
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda table: set_column(table, "subtask_text", [""] * len(table)))
    assert check(root) == []


def set_column(table: pa.Table, name: str, cells: list) -> pa.Table:
    at = table.column_names.index(name)
    return table.set_column(at, table.field(at), pa.array(cells, table.field(at).type))


def data(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda root: edit_table(root / DATA, change)


def episodes(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], object]:
    return lambda root: edit_table(root / EPISODES, change)


def info(change: Callable[[dict], object]) -> Callable[[Path], object]:
    return lambda root: edit_info(root, change)


def constant(name: str, dimension: int) -> Callable[[Path], object]:
    def change(table: pa.Table) -> pa.Table:
        cells = np.array(table[name].to_pylist())
        cells[:, dimension] = 0.5
        return set_column(table, name, cells.tolist())

    return lambda root: [edit_table(path, change) for path in root.glob("data/*/*.parquet")]


def damaged_frames(root: Path) -> None:
    raw = bytearray((root / VIDEO).read_bytes())
    at = raw.index(b"mdat") + 400
    raw[at : at + 900] = bytes(900)
    (root / VIDEO).write_bytes(raw)


def remove_row(row: int) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pa.concat_tables([table.slice(0, row), table.slice(row + 1)])


def swap_rows(table: pa.Table) -> pa.Table:
    return table.take([*range(9), 10, 9, *range(11, 20)])


NAN, FRONT = float("nan"), "observation.images.front"
BAD: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "clip shorter": (
        lambda root: other_video(root, frames=14),
        ["error 1: .*mp4: holds 14 frames, an episode its frames 10 to 19 -> restore the file"],
    ),
    "clip longer": (
        lambda root: other_video(root, frames=21),
        ["warning None: .*mp4: 1 of its 21 frames belong to no episode -> nothing"],
    ),
    "clip too small": (
        lambda root: other_video(root, size=(32, 32)),
        ["error None: .*mp4: is 32x32 at frame 0, meta/info.json has 32x48 -> correct meta/info.json"],
    ),
    "clip rate": (
        lambda root: other_video(root, rate=Fraction(30)),
        ["error 0: .*mp4: frame 1 is shown at 0.033 s, .* at 0.100 s -> correct fps in meta/info.json"],
    ),
    "clip missing": (lambda root: (root / VIDEO).unlink(), [f"error None: {VIDEO}: video file is missing -> restore"]),
    "clip damaged": (lambda root: cut(root / VIDEO), ["error None: .*mp4: damaged video"]),
    "frames damaged": (damaged_frames, [r"error [01]: .*mp4: damaged video at frame \d+ .* -> restore it"]),
    "clip position": (
        episodes(set_cell("videos/observation.images.front/from_timestamp", 1, 1.3)),
        ["error 1: .*episode 1 is 10 frames long, the last at 0.9 s, and its .* 1.3 .. 2 s -> restore from_timestamp"],
    ),
    "frames of others": (
        data(set_cell("episode_index", 19, 7)),
        [
            "error None: .*parquet: 1 of its 20 rows are of no episode that meta/info.json counts -> restore the file",
            "error 1: .*parquet: has 9 frames of episode 1, meta/episodes has 10",
        ],
    ),
    "frames mixed": (
        data(swap_rows),
        ["error None: .*parquet: the rows of episode 0 do not follow each other -> restore it"],
    ),
    "no instruction": (
        lambda root: [
            edit_table(root / "meta/tasks.parquet", lambda table: set_column(table, "task", ["", " "])),
            [edit_table(p, lambda t: set_column(t, "tasks", [[""]] * len(t))) for p in root.glob("meta/episodes/*/*")],
        ],
        ["error None: meta/tasks.parquet: no task has a text, so the dataset has no instruction -> write what the rob"],
    ),
    "rate": (
        lambda root: [(root / "meta/wla_robot.json").unlink(), edit_info(root, lambda tree: tree.update(fps=20))],
        ["error None: the frames are 0.1 s apart, 10 frames/s, and meta/info.json has fps 20 -> correct fps"],
    ),
    "camera in half of the episodes": (
        episodes(
            lambda table: set_column(
                set_column(table, f"videos/{FRONT}/file_index", [0, None]), f"videos/{FRONT}/chunk_index", [0, None]
            )
        ),
        [f"error None: meta/episodes: '{FRONT}' has no video in 1 of 3 episodes, the first is episode 1 -> split the"],
    ),
    "actions all equal": (
        lambda root: [constant("action", 0)(root), constant("action", 1)(root)],
        ["error None: 'action' never changes: nothing can be learned from it -> name another column"],
    ),
    "range almost zero": (
        lambda root: [
            edit_table(
                path, lambda table: set_column(table, "action", [[0.1 + i % 2 * 4e-7, i] for i in range(len(table))])
            )
            for path in root.glob("data/*/*.parquet")
        ],
        ["warning None: 'action': dimension dx is always about 0.1 .within 4e-07, which counts as constant. -> "],
    ),
    "part of a video": (
        episodes(set_cell(f"videos/{FRONT}/to_timestamp", 1, 1.5)),
        ["error 1: .*episode 1 is 10 frames long, the last at 0.9 s, and its .* 1 .. 1.5 s -> restore from_timestamp"],
    ),
    "two texts of one task": (
        lambda root: edit_table(root / "meta/tasks.parquet", lambda table: set_column(table, "task_index", [0, 0])),
        ["error None: meta/tasks.parquet: task_index 0 has two texts, 'do task 0' and 'do task 1' -> remove one"],
    ),
    "data missing": (
        lambda root: (root / DATA).unlink(),
        ["error None: .*parquet: file is missing, and no other has its episodes -> restore it"],
    ),
    "data damaged": (lambda root: cut(root / DATA), ["error None: .*parquet: damaged parquet"]),
    "column missing": (data(drop_column("action")), ["error None: .*parquet: column 'action' is missing"]),
    "frame missing": (
        data(remove_row(12)),
        [
            "error 1: .*parquet: has 9 frames of episode 1, meta/episodes has 10 -> restore the file or remove the ep",
            "warning None: frames are missing, or time jumps, before episode 1 frame 2 .0.2 s.: 0.1 s is usual",
        ],
    ),
    "time gap": (
        data(set_cell("timestamp", 13, 0.9)),
        [r"error 1: frame 3: timestamp is 0.8999999762, it must be 0.3 .fps 10. -> restore the missing frames"],
    ),
    "null index": (data(set_cell("frame_index", 4, None)), ["error 0: frame 4: frame_index is nan, it must be 4"]),
    "task": (
        data(set_cell("task_index", 3, 5)),
        ["error 0: 1 frames from frame 3 on have a task_index that is not in meta/tasks.parquet -> restore it"],
    ),
    "not finite": (
        data(set_cell("action", 14, [0.0, NAN])),
        ["error 1: 'action' is not finite in 1 frames, the first is frame 4 -> remove the episode"],
    ),
    "null state": (
        data(set_cell("observation.state", 14, None)),
        [r"error 1: 'observation.state' does not have 3 numbers in every frame"],
    ),
    "constant": (
        constant("observation.state", 1),
        ["warning None: 'observation.state': dimension y is always 0.5 -> check whether it should change"],
    ),
    "jump": (
        data(set_cell("action", 14, [90.0, 0.0])),
        [r"warning 1: 'action': dimension dx jumps by [89]\d.* at frame 4, 95 % of its changes are below 1"],
    ),
    "no subtask": (
        data(lambda table: set_column(table, "subtask_text", ["", None, " ", *table["subtask_text"].to_pylist()[3:]])),
        ["warning 0: 3 of 10 frames have no subtask_text -> annotate them"],
    ),
    "empty instruction": (
        lambda root: (
            edit_table(root / "meta/tasks.parquet", set_cell("task", 1, " ")),
            edit_table(root / EPISODES, set_cell("tasks", 1, [" "])),
        ),
        [
            "error None: meta/tasks.parquet: the instruction of task 1 is empty -> write one",
        ],
    ),
    "unknown task": (
        episodes(set_cell("tasks", 1, ["fly"])),
        ["warning 1: meta/episodes has the task 'fly' and its frames have 'do task 1', which is used -> correct"],
    ),
    "tasks damaged": (lambda root: cut(root / "meta/tasks.parquet"), ["error None: .*tasks.parquet: damaged parquet"]),
    "episodes missing": (
        lambda root: (root / EPISODES).unlink(),
        [
            "error None: meta/episodes describes 1 episodes, meta/info.json counts 3 -> restore the missing file",
            "error 2: episode 2 follows episode -1 in meta/episodes",
        ],
    ),
    "episodes damaged": (lambda root: cut(root / EPISODES), ["error None: .*parquet: damaged parquet"]),
    "episode position": (
        episodes(set_cell("dataset_from_index", 1, 11)),
        [
            "error 1: starts at frame 11 of the dataset, the episodes before it end at 10",
            "error 1: spans frames 11..20 and its length is 10",
        ],
    ),
    "depth": (
        info(feature("observation.images.front", shape=[32, 48, 1])),
        [r"error None: .*'observation.images.front' has shape \(32, 48, 1\), only colour images"],
    ),
    "robot": (
        info(feature("action", shape=[3])),
        ["error 0: 'action' does not have 3 numbers in every frame"],
    ),
    "only the reader finds it": (
        lambda root: (root / "meta/wla_robot.json").write_text("{}"),
        ["error None: .*wla_robot.json: "],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_problems_are_reported_with_their_episode(name, root):
    damage, expected = BAD[name]
    damage(root)
    lines = lines_of(check(root))
    for pattern in expected:
        assert any(re.match(pattern, line) for line in lines), f"{pattern} is not among {lines}"


def test_all_problems_are_reported_at_once(root):
    for name in ("clip shorter", "not finite", "no subtask", "unknown task"):
        BAD[name][0](root)
    other = root / "videos/observation.images.wrist/chunk-000/file-001.mp4"
    other.unlink()
    issues = check(root)
    assert [f.severity for f in issues].count("warning") == 2
    assert count_errors(issues) == 3
    assert {f.episode for f in issues} == {0, 1, 2}  # the missing clip holds only episode 2


def test_a_short_episode_is_a_warning(tmp_path):
    root = write_dataset(tmp_path / "d", (0,))
    edit_table(root / DATA, lambda table: table.slice(0, 1))
    for name, value in (("length", 1), ("dataset_to_index", 1)):
        edit_table(root / EPISODES, set_cell(name, 0, value))
    edit_info(root, lambda tree: tree.update(total_frames=1))
    for key in ("front", "wrist"):
        path = root / VIDEO.replace("front", key)
        other_video(root, frames=1)
        shutil.copy(root / VIDEO, path) if key != "front" else None
    lines = lines_of(check(root))
    assert "warning 0: has 1 frames, too few for an action and its result -> remove the episode" in lines
    assert not any(line.startswith("error") for line in lines)


def test_a_dataset_without_episodes_is_an_error(root):
    edit_info(root, lambda tree: tree.update(total_episodes=0))
    lines = lines_of(check(root))
    assert "error None: the dataset has no episodes -> collect some first" in lines
    assert any("describes 3 more episodes than the 0 that meta/info.json counts" in line for line in lines)


def test_a_gripper_that_opens_in_every_episode_does_not_count_as_a_jump(tmp_path):
    root = write_dataset(tmp_path / "d", (0, 1, 2))

    def change(table: pa.Table) -> pa.Table:
        cells = np.array(table["action"].to_pylist())
        step = table["frame_index"].to_numpy()
        # The gripper jitters a little and closes once.
        cells[:, 1] = np.where(step < 5, -1, 1) + 0.001 * (step % 2)
        return set_column(table, "action", cells.tolist())

    for path in root.glob("data/*/*.parquet"):
        edit_table(path, change)
    assert check(root) == []


def test_single_images_are_decoded(root):
    number = 0
    for path in sorted(root.glob("data/*/*.parquet")):
        cells = []
        for _ in range(len(pq.read_table(path))):
            buffer = io.BytesIO()
            Image.fromarray(image(0, 0, (16, 16) if number == 4 else (32, 48))).save(buffer, format="png")
            cells.append({"bytes": b"no image" if number == 25 else buffer.getvalue(), "path": None})
            number += 1
        edit_table(path, lambda table, cells=cells: table.append_column("observation.images.front", pa.array(cells)))
    edit_info(root, feature("observation.images.front", dtype="image"))
    lines = lines_of(check(root))
    assert [line.split(":")[0] for line in lines] == ["error 0", "error 2"]
    assert "in row 4: is 16x16, it must be 32x48" in lines[0]
    assert "in row 5: damaged image" in lines[1]
    edit_table(root / DATA, set_cell("observation.images.front", 2, None))
    assert any("'observation.images.front' has a row without an image" in line for line in lines_of(check(root)))
    edit_table(root / DATA, drop_column("observation.images.front"))
    assert any("column 'observation.images.front' is missing" in line for line in lines_of(check(root)))


def test_other_columns_may_be_state_and_action(root):
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda table: table.rename_columns(["qpos", *table.column_names[1:]]))
    edit_info(root, lambda tree: tree["features"].update(qpos=tree["features"].pop("observation.state")))
    (root / "meta/wla_robot.json").unlink()
    (line,) = lines_of(check(root, Columns(state="qpos")))
    assert line.startswith(
        "warning None: meta/wla_robot.json: is missing, so that nothing states what the numbers mean"
    )
    assert "write it with `wla data robot" in line
    (line,) = lines_of(check(root))
    assert line.startswith(
        "error None: meta/info.json: feature 'observation.state' is missing; the dataset has ['qpos']"
    )
    assert "-> name the columns that are the state, or none" in line


def test_a_folder_that_is_not_a_dataset_is_one_error(root, tmp_path):
    with pytest.raises(ValueError, match="not a LeRobot dataset folder"):
        check(tmp_path / "nowhere")
    edit_info(root, lambda tree: tree.update(codebase_version="v2.1"))
    with pytest.raises(ValueError, match=r"only v3.x; convert it with `wla data convert"):
        check(root)


def test_the_table_shows_errors_first_and_brackets_as_they_are():
    issues = [
        Issue("warning", 3, "w", "look"),
        Issue("error", 7, "value [0, 1] [red]", "mend it"),
        Issue("error", None, "all of it", "restore it"),
    ]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(issues_table(issues))
    rows = [line for line in console.export_text().splitlines() if "error" in line or "warning" in line]
    assert [("all of it" in row, "[0, 1] [red]" in row, "w " in row) for row in rows] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    assert "mend it" in rows[1]


def test_a_wrong_count_of_frames_is_reported(pristine, tmp_path):
    root = Path(shutil.copytree(pristine, tmp_path / "d"))
    edit_info(root, lambda tree: tree.update(total_frames=99))
    (line,) = lines_of(check(root))
    assert re.fullmatch(
        r"error None: meta/episodes describes \d+ frames, meta/info.json counts 99 -> correct total_frames in .*", line
    )
