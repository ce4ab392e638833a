"""The LeRobot v3.0 folder format: names, paths and the tables that describe a dataset.

A dataset is a sequence of shards. Shard k is one parquet file of frames, one mp4 per camera and one parquet file of
episode descriptions, all numbered k; `meta/info.json` counts the published shards and is the last file that a new shard
replaces.
Format reference: huggingface/lerobot, `src/lerobot/datasets`, codebase version v3.0.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError

from wla.files import read_json, recover
from wla.migrations import COLUMNS

VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
ROBOT = "meta/wla_robot.json"
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{_FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{_FILE}.parquet"
FILES_PER_CHUNK = 1000

STATE = "observation.state"
ACTION = "action"
SUBTASK = "subtask_text"
REWARD, DONE, SUCCESS = "next.reward", "next.done", "next.success"
"""LeRobot's names of what an environment returned for a frame's action."""
RESULT_COLUMNS = {REWARD: "float32", DONE: "bool", SUCCESS: "bool"}
IMAGE_PREFIX = "observation.images."
INDEX_COLUMNS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


class Feature(BaseModel):
    """One column: dtype ('video', 'string', 'float32', ...), shape of one frame's value, names of its dimensions."""

    model_config = ConfigDict(extra="allow", frozen=True)

    dtype: str
    shape: tuple[int, ...]
    names: Any = None


class DatasetInfo(BaseModel):
    """Content of `meta/info.json`. Keys that other programs added are kept."""

    model_config = ConfigDict(extra="allow", frozen=True)

    codebase_version: str = VERSION
    robot_type: str | None = None
    total_episodes: int = 0
    total_frames: int = 0
    total_tasks: int = 0
    chunks_size: int = FILES_PER_CHUNK
    data_files_size_in_mb: int = 100
    video_files_size_in_mb: int = 200
    fps: int | float
    splits: dict[str, str] = {}
    data_path: str = DATA_PATH
    video_path: str | None = VIDEO_PATH
    features: dict[str, Feature]

    @property
    def video_keys(self) -> tuple[str, ...]:
        return tuple(key for key, feature in self.features.items() if feature.dtype == "video")

    @property
    def cameras(self) -> dict[str, str]:
        """Camera name -> feature: a video, or single images (dtype 'image') inside the data files.

        Features outside `observation.images.` keep their full name.
        """
        keys = [key for key, feature in self.features.items() if feature.dtype in ("video", "image")]
        return {key.removeprefix(IMAGE_PREFIX): key for key in keys}

    def image_size(self, key: str) -> tuple[int, int]:
        """(height, width) of a camera feature. ValueError when it does not have three colour channels."""
        shape = self.features[key].shape
        if len(shape) == 3 and shape[2] == 3:
            return shape[0], shape[1]
        if len(shape) == 3 and shape[0] == 3:
            return shape[1], shape[2]
        raise ValueError(f"{INFO}: {key!r} has shape {shape}, only colour images (height, width, 3) can be read")


def read_info(root: Path) -> DatasetInfo:
    """Reads and checks `meta/info.json`. ValueError when `root` is not a LeRobot v3 dataset."""
    recover(root / "data")  # a relabelling may have been killed between its two renames
    tree = read_info_tree(root)
    version = str(tree.get("codebase_version"))
    if not version.startswith("v3."):
        tool = f"`wla data convert {root} --out NEW_FOLDER`" if version == "v2.1" else "LeRobot's own scripts"
        raise ValueError(f"{root / INFO}: dataset format {version} cannot be read, only v3.x; convert it with {tool}")
    return parse_info(root, tree)


def read_info_tree(root: Path) -> dict[str, Any]:
    """The JSON of `meta/info.json` of any version. ValueError when `root` is not a LeRobot dataset."""
    return read_json(root / INFO, missing="is missing: not a LeRobot dataset folder; give the one that contains `meta`")


def parse_info(root: Path, tree: dict[str, Any]) -> DatasetInfo:
    """Checks the fields of `meta/info.json`. ValueError names the first invalid one."""
    path = root / INFO
    try:
        info = DatasetInfo.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{path}: {where}: {first['msg']}; restore the file or collect the dataset again") from error
    if info.fps <= 0:
        raise ValueError(f"{path}: fps is {info.fps}; it must be positive, correct the file")
    return info


def video_feature(height: int, width: int, fps: Fraction) -> Feature:
    """Feature of a camera whose videos `wla.data.video.codec.encode` makes."""
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": rate_to_number(fps),
        "video.channels": 3,
        "has_audio": False,
    }
    tree = {"dtype": "video", "shape": (height, width, 3), "names": ["height", "width", "channels"], "info": video}
    return Feature.model_validate(tree)


def frame_rate(fps: float) -> Fraction:
    """The rate as a fraction, as video files store it, e.g. 12.5 -> 25/2."""
    return Fraction(fps).limit_denominator(1001)


def rate_to_number(fps: Fraction) -> int | float:
    return int(fps) if fps.denominator == 1 else float(fps)


def file_numbers(number: int) -> dict[str, int]:
    """The path fields of shard `number`."""
    return {"chunk_index": number // FILES_PER_CHUNK, "file_index": number % FILES_PER_CHUNK}


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a parquet file. ValueError when it is absent, damaged or lacks one of `columns`."""
    with _open_parquet(path) as file:
        absent = [name for name in columns or [] if name not in file.schema_arrow.names]
        if absent:
            raise ValueError(f"{path}: column {absent[0]!r} is missing; the file has {file.schema_arrow.names}")
        return file.read(columns=columns)


def read_schema(path: Path) -> pa.Schema:
    with _open_parquet(path) as file:
        return file.schema_arrow


def read_images(path: Path, key: str) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The single images of a feature of dtype 'image', in the order of the rows."""
    with _open_parquet(path) as file:
        for batch in file.iter_batches(batch_size=64, columns=[key]):
            for cell in batch.column(0).to_pylist():
                if not cell or not cell["bytes"]:
                    raise ValueError(f"{path}: {key!r} has a row without an image; restore the file")
                yield np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB"))


@contextmanager
def _open_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    if not path.is_file():
        raise ValueError(f"{path}: file is missing; restore it or collect the dataset again")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{path}: damaged parquet ({line}); restore the file or collect the dataset again") from error


def read_episodes(root: Path, info: DatasetInfo, *, with_stats: bool = False) -> list[dict[str, Any]]:
    """The rows of `meta/episodes` of all published episodes, in order. Rows after those that `info` counts are ignored:
    they belong to a shard whose publication was interrupted."""
    rows: list[dict[str, Any]] = []
    needed = episode_columns(info)
    for path in episode_files(root):
        if len(rows) >= info.total_episodes:
            break
        names = read_schema(path).names
        optional = {"seed", "success", "action_executed", *COLUMNS}
        chosen = needed + [name for name in names if name in optional or (with_stats and name.startswith("stats/"))]
        rows += [
            {COLUMNS.get(name, name): value for name, value in row.items()}
            for row in read_table(path, chosen).to_pylist()
        ]
    if len(rows) < info.total_episodes:
        raise ValueError(
            f"{root}: {INFO} counts {info.total_episodes} episodes, meta/episodes describes {len(rows)}; "
            "restore the missing file or collect the dataset again"
        )
    return rows[: info.total_episodes]


def episode_files(root: Path) -> list[Path]:
    """The files of `meta/episodes` in the order of their episodes."""
    return sorted((root / "meta/episodes").glob("*/*.parquet"))


def episode_columns(info: DatasetInfo) -> list[str]:
    """Columns of `meta/episodes` that the reader requires."""
    columns = ["episode_index", "length", "dataset_from_index", "dataset_to_index", "tasks"]
    columns += ["data/chunk_index", "data/file_index"]
    return columns + [
        f"videos/{key}/{name}" for key in info.video_keys for name in ("chunk_index", "file_index", "from_timestamp")
    ]


def read_tasks(root: Path) -> list[str]:
    """Instructions in the order of their task_index."""
    path = root / TASKS
    table = read_table(path)
    # pandas stores the instruction as the index: named `task`, or `__index_level_0__` in older files.
    texts = [name for name in table.column_names if pa.types.is_string(table.schema.field(name).type)]
    texts += [name for name in table.column_names if pa.types.is_large_string(table.schema.field(name).type)]
    if "task_index" not in table.column_names or not texts:
        raise ValueError(f"{path}: needs the columns 'task' and 'task_index'; it has {table.column_names}")
    pairs = zip(table["task_index"].to_pylist(), table[texts[0]].to_pylist(), strict=True)
    by_index = dict(sorted(pairs))
    if list(by_index) != list(range(len(by_index))):
        raise ValueError(f"{path}: task_index must count from 0 without gaps, it is {list(by_index)[:8]}")
    return list(by_index.values())


def tasks_table(instructions: list[str]) -> pa.Table:
    """The table of `meta/tasks.parquet`; LeRobot reads it with pandas and expects the instruction as the index."""
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, kind, numpy_type in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.0.0"}
    arrays = {"task_index": pa.array(range(len(instructions)), pa.int64()), "task": pa.array(instructions, pa.string())}
    return pa.table(arrays).replace_schema_metadata({b"pandas": json.dumps(pandas).encode()})
