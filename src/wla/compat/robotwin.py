"""Reader of raw RoboTwin 2.0 and RMBench episodes (HDF5), one at a time.

    data/episode<i>.hdf5            /joint_action/vector (T, 14): left arm, left gripper, right arm, right gripper
                                    /endpose/{left,right}_endpose (T, 7), {left,right}_gripper (T,)
                                    /observation/{head,left,right,front}_camera/rgb (T,): JPEG, padded with zeros
    instructions/episode<i>.json    {"seen": [...], "unseen": [...]}
    language_annotation.json        RMBench: {"episode_<i>": [[subtask, frames], ...]}

Sources: RoboTwin-Platform/RoboTwin and RoboTwin-Platform/RMBench (envs/utils/pkl2hdf5.py) and readers of their data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from wla.compat.hdf5 import columns, images, open_hdf5, require_h5py
from wla.compat.raw_convert import RawEpisode
from wla.data.images import decode_image
from wla.files import read_json

ActionSpace = Literal["joint", "endpose"]
CAMERAS = {
    "head_camera": "cam_high",
    "left_camera": "cam_left_wrist",
    "right_camera": "cam_right_wrist",
    "front_camera": "cam_front",
}
"""RoboTwin's camera -> its name in the published LeRobot datasets, the primary one first; some may be absent."""
TRUE_COLOURS = b"XPL-RGB1"
"""Comment of the JPEGs whose colours are those that any reader sees."""
FPS = 30.0
"""Frame rate of the published RMBench-LeRobot datasets of the same episodes; the raw files do not contain it."""
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_OTHER = "record it, or choose the other --action"
_FILE = re.compile(r"episode(\d+)\.hdf5")


def decode_jpeg(data: bytes) -> UInt8[np.ndarray, "H W 3"]:
    """An image of RoboTwin as RGB. ValueError for a damaged one.

    RGB arrays were encoded by OpenCV, which assumes BGR: in the JPEG, red and blue are swapped, unless a comment in its
    header says otherwise.
    """
    pixels = decode_image(data)
    return pixels if TRUE_COLOURS in data[: data.find(b"\xff\xda")] else np.ascontiguousarray(pixels[..., ::-1])


class RawDataset:
    """Episodes of a folder, sorted by their numbers, which may have gaps."""

    def __init__(self, root: Path, space: ActionSpace) -> None:
        """Finds the episodes of a folder.

        Args:
            root: folder that contains `data`.
            space: of states and actions.

        Raises:
            ValueError: h5py is not installed, or the folder contains no episodes.
        """
        require_h5py(root)
        self.root, self.fps = root, FPS
        self.space = space
        self.numbers = sorted(episode_numbers(root))
        if not self.numbers:
            raise ValueError(f"{root}: has no data/episode<number>.hdf5; give the folder that contains `data`")
        path = root / "language_annotation.json"
        self._annotation = read_json(path) if path.exists() else None

    def __len__(self) -> int:
        return len(self.numbers)

    def episodes(self) -> Iterator[RawEpisode]:
        """Reads one episode after the other. ValueError when a part of one is absent, damaged or inconsistent."""
        for number in self.numbers:
            path = self.root / f"data/episode{number}.hdf5"
            with open_hdf5(path) as file:
                yield self._episode(file, path, number)

    def _episode(self, file: Any, path: Path, number: int) -> RawEpisode:
        vectors = _joints(file, path) if self.space == "joint" else _poses(file, path)
        if len(vectors) < 2:
            raise ValueError(f"{path}: has fewer than 2 frames; remove the episode")
        cameras = {ours: f"observation/{theirs}/rgb" for theirs, ours in CAMERAS.items()}
        cameras = {camera: name for camera, name in cameras.items() if name in file}
        if not cameras:
            raise ValueError(f"{path}: has none of the cameras {', '.join(CAMERAS)}; record with RGB images")
        names = self._names(vectors.shape[1])
        return RawEpisode(
            path=path,
            state=vectors,
            # The measurement at t + 1, because the arms reach their targets within one step; the last one is its own.
            actions=np.concatenate([vectors[1:], vectors[-1:]]),
            state_names=names,
            action_names=names,
            cameras={
                camera: partial(images, file, path, name, len(vectors), decode_jpeg) for camera, name in cameras.items()
            },
            instructions=self._instructions(number),
            subtasks=self._subtasks(number, len(vectors)),
        )

    def _names(self, width: int) -> tuple[str, ...]:
        """Names of `width` state and action dimensions."""
        if self.space == "endpose":
            return tuple(f"{side}_{name}" for side in ("left", "right") for name in (*_POSE, "gripper"))
        joints = [f"joint_{i}" for i in range(1, width // 2)]
        return tuple(f"{side}_{name}" for side in ("left", "right") for name in (*joints, "gripper"))

    def _instructions(self, number: int) -> tuple[str, ...]:
        path = self.root / f"instructions/episode{number}.json"
        texts = read_json(path).get("seen")
        if not isinstance(texts, list) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise ValueError(f"{path}: needs a list 'seen' of instructions, none of them empty; restore it")
        return tuple(dict.fromkeys(text.strip() for text in texts))

    def _subtasks(self, number: int, length: int) -> tuple[str, ...]:
        if self._annotation is None:
            return ("",) * length
        path = self.root / "language_annotation.json"
        spans = self._annotation.get(f"episode_{number}")
        if not isinstance(spans, list) or not all(_is_span(span) for span in spans):
            raise ValueError(f"{path}: episode_{number} needs a list of [subtask, frames]; add it or remove the file")
        total = sum(frames for _, frames in spans)
        # Some tools count frames, others the steps between them; then the last frame belongs to the last subtask.
        if total not in (length - 1, length):
            raise ValueError(
                f"{path}: the subtasks of episode_{number} last {total} frames, the episode {length}; correct them"
            )
        texts = [text.strip() for text, frames in spans for _ in range(frames)]
        texts += texts[-1:] * (length - total)
        return tuple(texts)


def episode_numbers(root: Path) -> list[int]:
    """Returns the numbers of the raw episodes in a folder."""
    matches = (_FILE.fullmatch(path.name) for path in (root / "data").glob("episode*.hdf5"))
    return [int(match[1]) for match in matches if match]


def _joints(file: Any, path: Path) -> Float32[np.ndarray, "T D"]:
    (vectors,) = columns(file, path, ["joint_action/vector"], _OTHER)
    if vectors.shape[1] % 2:
        raise ValueError(
            f"{path}: joint_action/vector has {vectors.shape[1]} dimensions; an even number, for two arms, is required"
        )
    return vectors


def _poses(file: Any, path: Path) -> Float32[np.ndarray, "T 16"]:
    names = [f"endpose/{side}_{part}" for side in ("left", "right") for part in ("endpose", "gripper")]
    parts = columns(file, path, names, _OTHER)
    widths = [part.shape[1] for part in parts]
    if widths != [7, 1, 7, 1] or len({len(part) for part in parts}) != 1:
        shapes = ", ".join(f"{name} {part.shape}" for name, part in zip(names, parts, strict=True))
        raise ValueError(f"{path}: inconsistent poses ({shapes}), 7 and 1 dimensions are required; restore it")
    return np.concatenate(parts, axis=1)


def _is_span(span: Any) -> bool:
    return (
        isinstance(span, list)
        and len(span) == 2
        and isinstance(span[0], str)
        and bool(span[0].strip())
        and isinstance(span[1], int)
        and span[1] > 0
    )
