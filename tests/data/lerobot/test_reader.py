"""The reader: datasets of other programs, and a one-line error for every problem of a folder."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_datasets import image, psnr
from toy_robot import robot

from wla.data.lerobot.columns import Columns
from wla.data.lerobot.format import EPISODE_COLUMNS
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.validation.dataset import check
from wla.data.video import codec

RATE = Fraction(10)
DATA = "data/chunk-000/file-000.parquet"
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
ENDS = np.array([0, 19])
VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


def edit_info(root: Path, change: Callable[[dict], object]) -> None:
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    change(info)
    path.write_text(json.dumps(info))


def edit_table(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(pq.read_table(path))
    try:
        pq.write_table(table, path)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"PyArrow {pa.__version__} does not write it: {error}")


def set_cell(name: str, row: int, value: object) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        cells = table[name].to_pylist()
        cells[row] = value
        at = table.column_names.index(name)
        return table.set_column(at, table.field(at), pa.array(cells, table.field(at).type))

    return change


def test_episode_of_and_frame_id(root):
    dataset = LeRobotDataset(root)
    assert [dataset.episode_of(i).index for i in (0, 9, 10, 29)] == [0, 0, 1, 2]
    assert dataset.frame_id(13) == f"{root} episode 1 frame 3"
    for index in (-1, 30):
        with pytest.raises(IndexError, match=f"frame {index} of 30"):
            dataset.episode_of(index)


def test_an_unknown_camera_is_refused(root):
    with pytest.raises(ValueError, match=r"no camera 'top'; the dataset has \['front', 'wrist'\]"):
        LeRobotDataset(root).frames("top")


def test_a_dataset_of_another_program_is_read(root):
    """No robot file, no subtasks, tasks as older pandas wrote them, plain lists, a camera outside the usual prefix."""
    (root / "meta/wla_robot.json").unlink()
    (root / "videos/observation.images.wrist").rename(root / "videos/observation.image")

    def rename(table: pa.Table) -> pa.Table:
        return table.rename_columns([n.replace("images.wrist", "image") for n in table.column_names])

    for path in root.glob("meta/episodes/*/*.parquet"):
        edit_table(path, lambda table: rename(table).drop_columns(["seed"]))
    for path in root.glob("data/*/*.parquet"):
        edit_table(path, lambda table: table.drop_columns(["subtask_text", *EPISODE_COLUMNS]))
        edit_table(path, lambda table: table.set_column(1, "action", table["action"].cast(pa.list_(pa.float64()))))
    edit_table(root / "meta/tasks.parquet", lambda t: t.rename_columns(["task_index", "__index_level_0__"]))

    def change(info: dict) -> None:
        for name in ("subtask_text", *EPISODE_COLUMNS):
            info["features"].pop(name)
        info["features"]["observation.image"] = info["features"].pop("observation.images.wrist")
        info["by_someone_else"] = True

    edit_info(root, change)
    dataset = LeRobotDataset(root)
    assert dataset.robot_spec is None
    assert dataset.subtasks is None
    assert dataset.subtask_texts == ()
    assert dataset.cameras == {"front": (32, 48), "observation.image": (32, 48)}
    assert dataset.episodes[0].seed is None
    assert dataset.actions.dtype == np.float32
    assert dataset.frames("observation.image").shape == (30, 32, 48, 3)


def store_as_images(root: Path, key: str, make_image: Callable[[int], Image.Image]) -> None:
    """Adds single images to the data files: make_image(number of the frame)."""
    number = 0
    for path in sorted(root.glob("data/*/*.parquet")):
        cells = []
        for _ in range(len(pq.read_table(path))):
            buffer = io.BytesIO()
            make_image(number).save(buffer, format="png")
            cells.append({"bytes": buffer.getvalue(), "path": None})
            number += 1
        edit_table(path, lambda table, cells=cells: table.append_column(key, pa.array(cells)))
    added = {"dtype": "image", "shape": [3, 32, 48], "names": None}
    edit_info(root, lambda info: info["features"].update({key: added}))


def coloured(number: int) -> Image.Image:
    return Image.fromarray(image(number // 10, number % 10))


def deep(number: int) -> Image.Image:
    return Image.fromarray(np.full((32, 48), 1000 + number, np.uint16))


def test_single_images_are_read_instead_of_video(root):
    (root / "meta/wla_robot.json").unlink()
    store_as_images(root, "observation.images.front", coloured)
    frames = LeRobotDataset(root).frames("front")
    np.testing.assert_array_equal(frames[15], image(1, 5))
    np.testing.assert_array_equal(frames[29], image(2, 9))


def test_single_images_of_sixteen_bits_are_named_on_opening(root):
    store_as_images(root, "observation.images.depth", deep)
    dataset = LeRobotDataset(root)
    (note,) = dataset.notes
    assert note.startswith("camera 'depth' is not read: ")
    assert "file-000.parquet: 'observation.images.depth' has one channel of more than 8 bits" in note
    assert "depth" not in dataset.readable_cameras
    assert dataset.frames("front").shape == (30, 32, 48, 3)
    with pytest.raises(ValueError, match="leave the camera out"):
        dataset.frames("depth")
    (issue,) = {issue.message.partition(": ")[2] for issue in check(root) if issue.severity == "error"}
    assert "'observation.images.depth' in row 0: has one channel of more than 8 bits" in issue


def test_two_cameras_with_one_name_after_the_prefix_have_their_full_names(root):
    (root / "meta/wla_robot.json").unlink()
    store_as_images(root, "front", lambda number: coloured(29 - number))
    dataset = LeRobotDataset(root)
    assert list(dataset.cameras) == ["observation.images.front", "wrist", "front"]
    np.testing.assert_array_equal(dataset.frames("front")[0], image(2, 9))
    assert psnr(dataset.frames("observation.images.front")[0], image(0, 0)) > 25
    renamed = Columns(cameras={"front": "observation.images.front", "other": "front"})
    assert psnr(LeRobotDataset(root, columns=renamed).frames("front")[0], image(0, 0)) > 25


def test_a_robot_s_camera_that_may_be_either_of_two_features_is_asked_for(root):
    store_as_images(root, "front", coloured)
    with pytest.raises(ValueError, match=r"'front' and 'observation.images.front', and meta/wla_robot.json a camera"):
        LeRobotDataset(root)
    renamed = Columns(cameras={"front": "observation.images.front", "other": "front"})
    assert list(LeRobotDataset(root, columns=renamed).cameras)[:2] == ["front", "other"]


def write_other_video(root: Path, frames: int = 20, rate: Fraction = RATE, size: tuple[int, int] = (32, 48)) -> None:
    (root / VIDEO).write_bytes(codec.encode([image(0, i, size) for i in range(frames)], rate))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_column(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def feature(key: str, **values: object) -> Callable[[dict], object]:
    return lambda info: info["features"][key].update(values)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no dataset": (
        lambda root: (root / "meta/info.json").unlink(),
        "/d/meta/info.json: is missing: not a LeRobot dataset folder",
    ),
    "v2.1": (
        lambda root: edit_info(root, lambda info: info.update(codebase_version="v2.1")),
        "meta/info.json: dataset format v2.1 cannot be read, only v3.x; convert it with `wla data convert .*/d --out ",
    ),
    "v1.6": (
        lambda root: edit_info(root, lambda info: info.update(codebase_version="v1.6")),
        "meta/info.json: dataset format v1.6 cannot be read, only v3.x; convert it with LeRobot's own scripts",
    ),
    "info of a different type": (
        lambda root: (root / "meta/info.json").write_text("[]"),
        "is a list, not a JSON object",
    ),
    "broken info": (lambda root: cut(root / "meta/info.json"), "meta/info.json: damaged JSON"),
    "info without fps": (lambda root: edit_info(root, lambda info: info.pop("fps")), "meta/info.json: fps: Field req"),
    "no fps": (lambda root: edit_info(root, lambda info: info.update(fps=0)), "fps.*: Input should be greater than 0"),
    "no episodes": (
        lambda root: edit_info(root, lambda info: info.update(total_episodes=0)),
        "/d: the dataset has no episodes yet; collect some first",
    ),
    "fps and robot": (
        lambda root: edit_info(root, lambda info: info.update(fps=20)),
        r"meta/info.json: fps is 20 and meta/wla_robot.json has 10 Hz",
    ),
    "fps and timestamps": (
        lambda root: edit_table(root / DATA, set_cell("timestamp", 11, 0.0)),
        r"/d episode 1 frame 1: timestamp is 0, it must be 0.1 \(fps 10\)",
    ),
    "fps and video": (
        lambda root: write_other_video(root, rate=Fraction(30)),
        rf"{VIDEO}: frame 1 is shown at 0.033 s, at 10 frames/s the dataset has it at 0.100 s; correct fps",
    ),
    "state shape and robot": (
        lambda root: edit_info(root, feature("observation.state", shape=[4])),
        r"'observation.state' has shape \(4,\) and meta/wla_robot.json has \(3,\)",
    ),
    "action shape and data": (
        lambda root: ((root / "meta/wla_robot.json").unlink(), edit_info(root, feature("action", shape=[3]))),
        r"'action' does not have \(3,\) numbers in every frame",
    ),
    "camera of the robot missing": (
        lambda root: edit_info(root, lambda info: info["features"].pop("observation.images.wrist")),
        "camera 'wrist' is missing, meta/wla_robot.json has it; correct one",
    ),
    "depth camera": (
        lambda root: edit_info(root, feature("observation.images.front", shape=[32, 48, 1])),
        r"'observation.images.front' has shape \(32, 48, 1\), only colour images",
    ),
    "no state": (
        lambda root: edit_info(root, lambda info: info["features"].pop("observation.state")),
        r"meta/info.json: 'state' has shape \(0,\) and meta/wla_robot.json has \(3,\); correct one",
    ),
    "missing data file": (lambda root: (root / DATA).unlink(), f"{DATA}: file is missing"),
    "truncated data": (lambda root: cut(root / DATA), f"{DATA}: damaged parquet"),
    "truncated episodes": (lambda root: cut(root / EPISODES), f"{EPISODES}: damaged parquet"),
    "truncated tasks": (lambda root: cut(root / "meta/tasks.parquet"), "meta/tasks.parquet: damaged parquet"),
    "missing column": (
        lambda root: edit_table(root / DATA, drop_column("action")),
        f"{DATA}: column 'action' is missing; the file has",
    ),
    "missing episode column": (
        lambda root: edit_table(root / EPISODES, drop_column("length")),
        f"{EPISODES}: column 'length' is missing",
    ),
    "missing episodes": (
        lambda root: (root / EPISODES).unlink(),
        "/d: meta/info.json counts 3 episodes, meta/episodes describes 1",
    ),
    "rows": (
        lambda root: edit_table(root / DATA, lambda table: table.slice(0, 19)),
        f"{DATA}: has 9 frames of episode 1, meta/episodes has 10; restore the file",
    ),
    "episode boundaries": (
        lambda root: edit_table(root / EPISODES, set_cell("dataset_from_index", 1, 11)),
        "meta/episodes: episode 1 spans frames 11..20, length 10, after 10 frames",
    ),
    "frame order": (
        lambda root: edit_table(root / DATA, set_cell("frame_index", 12, 7)),
        "/d episode 1 frame 2: frame_index is 7, it must be 2",
    ),
    "task": (
        lambda root: edit_table(root / DATA, set_cell("task_index", 3, 5)),
        "/d episode 0 frame 3: task_index 5 is not in meta/tasks.parquet",
    ),
    "not finite": (
        lambda root: edit_table(root / DATA, set_cell("action", 14, [0.0, float("nan")])),
        r"/d episode 1 frame 4: 'action' is not finite: \[ 0. nan\]; remove the episode",
    ),
    "null": (
        lambda root: edit_table(root / DATA, set_cell("observation.state", 14, None)),
        r"'observation.state' does not have \(3,\) numbers in every frame",
    ),
    "missing video": (lambda root: (root / VIDEO).unlink(), f"{VIDEO}: video file is missing"),
    "corrupt video": (lambda root: (root / VIDEO).write_bytes(b"no video" * 99), f"{VIDEO}: damaged video"),
    "short video": (
        lambda root: write_other_video(root, frames=19),
        f"{VIDEO}: holds 19 frames, an episode its frames 10 to 19",
    ),
    "video size": (
        lambda root: write_other_video(root, size=(32, 32)),
        f"{VIDEO}: is 32x32, meta/info.json has",
    ),
    "video boundaries": (
        lambda root: edit_table(root / EPISODES, set_cell("videos/observation.images.front/from_timestamp", 1, 1.3)),
        "episode 1 is 10 frames long, the last at 0.9 s, and its part of the video .* 1.3 .. 2 s",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_damaged_or_inconsistent_dataset_is_refused(root, name):
    damage, message = BAD[name]
    damage(root)
    for read in (lambda dataset: dataset.frames("front"), lambda dataset: dataset.random_access_frames("front")[ENDS]):
        with pytest.raises(ValueError, match=message) as caught:
            read(LeRobotDataset(root))
        assert "\n" not in str(caught.value)


def test_an_empty_dataset_is_refused(tmp_path):
    DatasetWriter(tmp_path / "d", robot()).close()
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'd'}: the dataset has no episodes yet")):
        LeRobotDataset(tmp_path / "d")
