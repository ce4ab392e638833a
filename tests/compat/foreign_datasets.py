"""Small datasets in foreign formats."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wla.data.lerobot.stats import image_stats, vector_stats
from wla.data.video import codec

LENGTHS = (6, 4, 5)
FPS = 10
CAMERAS = ("observation.images.top", "observation.image")
TASKS = ("put the cup on the plate", "open the drawer")
SUBTASKS = ("reach it", "lift it")


def make_image(episode: int, frame: int, camera: int = 0, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """Returns an image with a red block that encodes the frame and a blue one that encodes the episode."""
    image = np.full((*size, 3), (150, 120, 90), np.uint8)
    image[8 * camera : 8 * camera + 8, 4 * frame : 4 * frame + 8] = (220, 30, 30)
    image[20:28, 8 * episode : 8 * episode + 8] = (20, 60, 220)
    return image


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_v21(root: Path) -> Path:
    """Writes a LeRobot v2.1 dataset with two cameras, an unknown column and an unknown field of episodes."""
    (root / "meta").mkdir(parents=True)
    rng = np.random.default_rng(0)
    episodes, stats, start = [], [], 0
    for number, length in enumerate(LENGTHS):
        state, effort = rng.normal(size=(length, 3)).astype(np.float32), rng.normal(size=length).astype(np.float32)
        columns = {
            "observation.state": state,
            "action": state[:, :2] + 1,
            "timestamp": np.arange(length, dtype=np.float32) / FPS,
            "frame_index": np.arange(length),
            "episode_index": np.full(length, number),
            "index": start + np.arange(length),
            "task_index": np.full(length, number % 2),
            "effort": effort,
        }
        table = pa.table({key: pa.array(list(value)) for key, value in columns.items()})
        path = root / f"data/chunk-000/episode_{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        part = {key: vector_stats(value.reshape(length, -1)) for key, value in columns.items()}
        for index, key in enumerate(CAMERAS):
            frames = [make_image(number, frame, index) for frame in range(length)]
            clip = root / f"videos/chunk-000/{key}/episode_{number:06d}.mp4"
            clip.parent.mkdir(parents=True, exist_ok=True)
            clip.write_bytes(codec.encode(frames, Fraction(FPS)))
            part[key] = image_stats(frames)
        part["effort"]["q50"] = [float(np.median(effort))]
        episodes.append(
            {"episode_index": number, "tasks": [TASKS[number % 2]], "length": length, "scene": f"s{number}"}
        )
        stats.append({"episode_index": number, "stats": part})
        start += length
    write_jsonl(root / "meta/episodes.jsonl", episodes)
    write_jsonl(root / "meta/episodes_stats.jsonl", stats)
    write_jsonl(root / "meta/tasks.jsonl", [{"task_index": i, "task": task} for i, task in enumerate(TASKS)])
    (root / "meta/info.json").write_text(json.dumps(_info()))
    return root


def _info() -> dict[str, Any]:
    features: dict[str, Any] = {
        key: {"dtype": "float32", "shape": [shape], "names": None}
        for key, shape in {"observation.state": 3, "action": 2, "timestamp": 1, "effort": 1}.items()
    }
    for key in ("frame_index", "episode_index", "index", "task_index"):
        features[key] = {"dtype": "int64", "shape": [1], "names": None}
    for key in CAMERAS:
        features[key] = {"dtype": "video", "shape": [32, 48, 3], "names": ["height", "width", "channels"]}
    return {
        "codebase_version": "v2.1",
        "robot_type": "arm",
        "total_episodes": len(LENGTHS),
        "total_frames": sum(LENGTHS),
        "total_tasks": len(TASKS),
        "total_videos": 2 * len(LENGTHS),
        "total_chunks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
        "by_someone": "else",
    }


def jpeg(image: np.ndarray) -> bytes:
    """Encodes an RGB array like OpenCV, which assumes BGR."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image[..., ::-1])).save(buffer, format="jpeg", quality=95)
    return buffer.getvalue()


def joints(number: int, length: int) -> np.ndarray:
    return (100 * number + np.arange(length)[:, None] + np.arange(14) / 100).astype(np.float32)


def write_robotwin(root: Path) -> Path:
    """Writes raw episodes 0, 1 and 2 of RMBench; the first two have the same first phrasing."""
    import h5py

    (root / "data").mkdir(parents=True)
    (root / "instructions").mkdir()
    spans = {}
    for number, length in enumerate(LENGTHS):
        with h5py.File(root / f"data/episode{number}.hdf5", "w") as file:
            vector = joints(number, length)
            file["joint_action/vector"] = vector
            file["joint_action/left_arm"] = vector[:, :6]
            for side, first in (("left", 0), ("right", 7)):
                file[f"endpose/{side}_endpose"] = vector[:, first : first + 7].astype(np.float64)
                file[f"endpose/{side}_gripper"] = np.full(length, first / 10)
            for index, camera in enumerate(("head", "left", "right")):
                images = [jpeg(make_image(number, frame, index)) for frame in range(length)]
                longest = max(map(len, images))
                file.create_dataset(f"observation/{camera}_camera/rgb", data=images, dtype=f"S{longest}")
        first = "Put the cup on the plate." if number < 2 else "Open the drawer."
        texts = {"seen": [first, f"{first} Now {number}."], "unseen": ["Do it."]}
        (root / f"instructions/episode{number}.json").write_text(json.dumps(texts))
        spans[f"episode_{number}"] = [[SUBTASKS[0], 2], [SUBTASKS[1], length - 2]]
    (root / "language_annotation.json").write_text(json.dumps(spans))
    return root


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def psnr(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((ours.astype(float) - theirs) ** 2)))
