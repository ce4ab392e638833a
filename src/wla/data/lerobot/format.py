"""The LeRobot v3.0 folder format: names, paths and the tables that describe a dataset.

A dataset is a sequence of shards. Shard k is one parquet file of frames, one mp4 per camera and one parquet file of
episode descriptions, all numbered k; `meta/info.json` counts the published shards and is the last file that a new shard
replaces.
Format reference: huggingface/lerobot, `src/lerobot/datasets`, codebase version v3.0.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wla.data.lerobot.tables import read_schema, read_table, typed
from wla.files import read_json, recover
from wla.foreign import fill_template, invisible, one_line, path_below, shown
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
CAMERA_DTYPES = ("video", "image")
INDEX_COLUMNS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


MAX_EPISODES = 10**7
MAX_SIDE = 2**14
"""Pixels along one side of the largest image."""
Dimension = Annotated[int, Field(ge=0, le=2**31)]


class Feature(BaseModel):
    """One column: dtype ('video', 'string', 'float32', ...), shape of one frame's value, names of its dimensions."""

    model_config = ConfigDict(extra="allow", frozen=True)

    dtype: str
    shape: tuple[Dimension, ...]
    names: Any = None


class DatasetInfo(BaseModel):
    """Content of `meta/info.json`. Keys of other programs are kept; what nothing reads is not checked."""

    model_config = ConfigDict(extra="allow", frozen=True)

    codebase_version: str = VERSION
    robot_type: Any = None
    total_episodes: int = Field(default=0, ge=0, le=MAX_EPISODES)
    total_frames: int = Field(default=0, ge=0, le=2**40)
    total_tasks: Any = 0
    chunks_size: int = Field(default=FILES_PER_CHUNK, ge=1, le=2**31)
    data_files_size_in_mb: int = Field(default=100, ge=1, le=2**31)
    video_files_size_in_mb: Any = 200
    fps: int | float = Field(gt=0, le=10**5, allow_inf_nan=False)
    splits: Any = {}
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
        keys = [key for key, feature in self.features.items() if feature.dtype in CAMERA_DTYPES]
        return {key.removeprefix(IMAGE_PREFIX): key for key in keys}

    def is_colour(self, key: str) -> bool:
        """Whether a camera feature states colour images, unlike those of depth cameras."""
        shape = self.features[key].shape
        return len(shape) == 3 and 3 in (shape[0], shape[2])

    def image_size(self, root: Path, key: str) -> tuple[int, int]:
        """(height, width) of a camera feature. ValueError when it is not a colour image of a usual size."""
        shape = self.features[key].shape
        size = shape[:2] if shape[2:] == (3,) else shape[1:] if shape[:1] == (3,) else ()
        if len(size) != 2:
            raise ValueError(
                f"{root / INFO}: {key!r} has shape {shape}, only colour images (height, width, 3) can be read"
            )
        if not all(1 <= side <= MAX_SIDE for side in size):
            raise ValueError(f"{root / INFO}: {key!r} has shape {shape}, a side has 1 .. {MAX_SIDE} pixels; correct it")
        return size[0], size[1]

    def data_file(self, root: Path, row: Mapping[str, Any]) -> Path:
        """The parquet file of an episode. row: of `meta/episodes`. ValueError when it would lie outside the dataset."""
        return self._file(root, "data_path", self.data_path, row, "data", {})

    def video_file(self, root: Path, row: Mapping[str, Any], key: str) -> Path:
        """The file of an episode's video of the feature `key`. ValueError when it would lie outside the dataset."""
        if self.video_path is None:
            raise ValueError(f"{root / INFO}: has the video {key!r} and no video_path; add it")
        return self._file(root, "video_path", self.video_path, row, f"videos/{key}", {"video_key": key})

    @staticmethod
    def _file(
        root: Path, field: str, template: str, row: Mapping[str, Any], folder: str, names: dict[str, str]
    ) -> Path:
        numbers = {name: row[f"{folder}/{name}"] for name in file_numbers(0)}
        source = f"{root / INFO}: {field}"
        return path_below(root, fill_template(template, source, **numbers, **names), source)


def read_info(root: Path) -> DatasetInfo:
    """Reads and checks `meta/info.json`. ValueError when `root` is not a LeRobot v3 dataset."""
    recover(root / "data")  # a relabelling may have been killed between its two renames
    tree = read_info_tree(root)
    version = tree.get("codebase_version")
    if not str(version).startswith("v3."):
        tool = f"`wla data convert {root} --out NEW_FOLDER`" if version == "v2.1" else "LeRobot's own scripts"
        raise ValueError(
            f"{root / INFO}: dataset format {one_line(version)} cannot be read, only v3.x; convert it with {tool}"
        )
    return parse_info(root, tree)


def read_info_tree(root: Path) -> dict[str, Any]:
    """The JSON of `meta/info.json` of any version. ValueError when `root` is not a LeRobot dataset."""
    path = path_below(root, INFO, root)
    return read_json(path, missing="is missing: not a LeRobot dataset folder; give the one that contains `meta`")


def parse_info(root: Path, tree: dict[str, Any]) -> DatasetInfo:
    """Checks the fields of `meta/info.json`. ValueError names the first invalid one."""
    path = root / INFO
    try:
        info = DatasetInfo.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        where = one_line(".".join(map(str, first["loc"])))
        raise ValueError(
            f"{path}: {where}: {one_line(first['msg'])}, it is {shown(first['input'])}; correct the file, or collect "
            "the dataset again"
        ) from error
    for name in info.features:
        if not name or invisible(name):
            raise ValueError(f"{path}: a feature is called {shown(name)}; rename it")
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


EPISODE_TYPES = {
    **dict.fromkeys(("episode_index", "length", "dataset_from_index", "dataset_to_index"), pa.int64()),
    **dict.fromkeys(("data/chunk_index", "data/file_index"), pa.int64()),
    "tasks": pa.list_(pa.string()),
}
OPTIONAL_EPISODE_TYPES = {"seed": pa.int64(), "success": pa.bool_(), "action_executed": pa.list_(pa.bool_())}


def read_episodes(root: Path, info: DatasetInfo, *, with_stats: bool = False) -> list[dict[str, Any]]:
    """The rows of `meta/episodes` of all published episodes, in order. Rows after those that `info` counts are ignored:
    they belong to a shard whose publication was interrupted."""
    rows: list[dict[str, Any]] = []
    for path in episode_files(root):
        if len(rows) >= info.total_episodes:
            break
        rows += read_episode_file(path, info, with_stats=with_stats, limit=info.total_episodes - len(rows))
    if len(rows) < info.total_episodes:
        raise ValueError(
            f"{root}: {INFO} counts {info.total_episodes} episodes, meta/episodes describes {len(rows)}; "
            "restore the missing file or collect the dataset again"
        )
    return rows


def episode_files(root: Path) -> list[Path]:
    """The files of `meta/episodes` in the order of their episodes. ValueError for one that lies outside the dataset."""
    found = sorted((root / "meta/episodes").glob("*/*.parquet"))
    return [path_below(root, path.relative_to(root).as_posix(), root / "meta/episodes") for path in found]


def read_episode_file(
    path: Path, info: DatasetInfo, *, with_stats: bool = False, limit: int = MAX_EPISODES
) -> list[dict[str, Any]]:
    """The first `limit` rows of a file of `meta/episodes`, with the types that the reader relies on.

    ValueError names the column that is absent, or of another type.
    """
    names = read_schema(path).names
    kinds = EPISODE_TYPES | {
        f"videos/{key}/{name}": kind
        for key in info.video_keys
        for name, kind in (("chunk_index", pa.int64()), ("file_index", pa.int64()), ("from_timestamp", pa.float64()))
    }
    optional = {
        name: OPTIONAL_EPISODE_TYPES[now] for name in names if (now := _present(name)) in OPTIONAL_EPISODE_TYPES
    }
    stats = [name for name in names if with_stats and name.startswith("stats/")]
    table = read_table(path, [*kinds, *optional, *stats]).slice(0, limit)
    columns: dict[str, Any] = {name: typed(table, name, kind, path) for name, kind in kinds.items()}
    columns |= {_present(name): typed(table, name, kind, path, nulls=True) for name, kind in optional.items()}
    for name, kind in kinds.items():
        limit_of = {pa.int64(): 2**62, pa.float64(): 1e9}.get(kind)
        values = columns[name].to_numpy() if limit_of else np.empty(0)
        if limit_of and not ((values >= 0) & (values <= limit_of)).all():
            raise ValueError(f"{path}: column {name!r} has a value outside 0 .. {limit_of:g}; restore the file")
    return pa.table(columns | {name: table[name] for name in stats}).to_pylist()


def _present(column: str) -> str:
    return COLUMNS.get(column, column)


def read_tasks(root: Path) -> list[str]:
    """Instructions in the order of their task_index."""
    path = path_below(root, TASKS, root)
    schema = read_schema(path)
    # pandas stores the instruction as the index: named `task`, or `__index_level_0__` in older files.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    texts += [field.name for field in schema if pa.types.is_large_string(field.type)]
    if "task_index" not in schema.names or not texts:
        raise ValueError(f"{path}: needs the columns 'task' and 'task_index'; it has {schema.names}")
    table = read_table(path, ["task_index", texts[0]])
    numbers = typed(table, "task_index", pa.int64(), path).to_pylist()
    by_index = dict(sorted(zip(numbers, typed(table, texts[0], pa.string(), path).to_pylist(), strict=True)))
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
