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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, UInt8

from wla.data.images import decode_image
from wla.files import read_json
from wla.foreign import damaged

ActionSpace = Literal["joint", "endpose"]
CAMERAS = {
    "head_camera": "cam_high",
    "left_camera": "cam_left_wrist",
    "right_camera": "cam_right_wrist",
    "front_camera": "cam_front",
}
"""RoboTwin's camera -> its name in the published LeRobot datasets, the primary one first; some may be absent."""
MAX_EPISODE_BYTES = 2**34
_POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
_FILE = re.compile(r"episode(\d+)\.hdf5")


@dataclass(frozen=True)
class RawEpisode:
    """One episode of T frames.

    Attributes:
        number: in the file name.
        path: HDF5 file.
        vectors: measured joint positions or end-effector poses, (T, D).
        cameras: our name of the camera -> T encoded images.
        instructions: RoboTwin's "seen" phrasings of the instruction.
        subtasks: text for each frame, '' without an annotation.
    """

    number: int
    path: Path
    vectors: Float32[np.ndarray, "T D"]
    cameras: dict[str, list[bytes]]
    instructions: tuple[str, ...]
    subtasks: tuple[str, ...]

    def images(self, camera: str) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yields decoded RGB images in order. ValueError for a damaged one."""
        for frame, data in enumerate(self.cameras[camera]):
            try:
                pixels = decode_image(data)
            except ValueError as error:
                raise ValueError(f"{self.path}: camera {camera!r}, frame {frame}: {error}; restore the file") from error
            # RGB arrays were encoded by OpenCV, which assumes BGR: in the JPEG, red and blue are swapped.
            yield np.ascontiguousarray(pixels[..., ::-1])


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
        try:
            import h5py  # noqa: F401
        except ModuleNotFoundError as error:
            raise ValueError(f"{root}: reading HDF5 needs h5py; run pip install h5py") from error
        self.root = root
        self.space = space
        self.numbers = sorted(episode_numbers(root))
        if not self.numbers:
            raise ValueError(f"{root}: has no data/episode<number>.hdf5; give the folder that contains `data`")
        path = root / "language_annotation.json"
        self._annotation = read_json(path) if path.exists() else None

    def read(self, number: int) -> RawEpisode:
        """Reads one episode. ValueError when a part of it is absent, damaged or inconsistent."""
        path = self.root / f"data/episode{number}.hdf5"
        with _open(path) as file:
            vectors = _joints(file, path) if self.space == "joint" else _poses(file, path)
            length = len(vectors)
            cameras = {}
            for theirs, ours in CAMERAS.items():
                name = f"observation/{theirs}/rgb"
                if name in file:
                    cameras[ours] = [bytes(image) for image in _array(file, path, name)]
        for camera, images in cameras.items():
            if len(images) != length:
                raise ValueError(f"{path}: camera {camera!r} has {len(images)} images for {length} frames; restore it")
        if not cameras:
            raise ValueError(f"{path}: has none of the cameras {', '.join(CAMERAS)}; record with RGB images")
        if length < 2 or not np.isfinite(vectors).all():
            problem = "has fewer than 2 frames" if length < 2 else "has values that are not finite"
            raise ValueError(f"{path}: {problem}; remove the episode")
        return RawEpisode(number, path, vectors, cameras, self._instructions(number), self._subtasks(number, length))

    def names(self, width: int) -> list[str]:
        """Returns the names of `width` state and action dimensions."""
        if self.space == "endpose":
            return [f"{side}_{name}" for side in ("left", "right") for name in (*_POSE, "gripper")]
        joints = [f"joint_{i}" for i in range(1, width // 2)]
        return [f"{side}_{name}" for side in ("left", "right") for name in (*joints, "gripper")]

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


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise damaged(path, "HDF5 file", error) from error


def _joints(file: Any, path: Path) -> Float32[np.ndarray, "T D"]:
    (vectors,) = _columns(file, path, ["joint_action/vector"])
    if vectors.shape[1] % 2:
        raise ValueError(
            f"{path}: joint_action/vector has {vectors.shape[1]} dimensions; an even number, for two arms, is required"
        )
    return vectors


def _poses(file: Any, path: Path) -> Float32[np.ndarray, "T 16"]:
    names = [f"endpose/{side}_{part}" for side in ("left", "right") for part in ("endpose", "gripper")]
    parts = _columns(file, path, names)
    widths = [part.shape[1] for part in parts]
    if widths != [7, 1, 7, 1] or len({len(part) for part in parts}) != 1:
        shapes = ", ".join(f"{name} {part.shape}" for name, part in zip(names, parts, strict=True))
        raise ValueError(f"{path}: inconsistent poses ({shapes}), 7 and 1 dimensions are required; restore it")
    return np.concatenate(parts, axis=1)


def _columns(file: Any, path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """Returns datasets as float32 matrices; one-dimensional ones become a column."""
    missing = [name for name in names if name not in file]
    if missing:
        raise ValueError(f"{path}: /{missing[0]} is missing; record it, or choose the other --action")
    arrays = [_array(file, path, name) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind not in "fiub" or not array.size:
            raise ValueError(f"{path}: /{name} is {array.dtype} {array.shape}, numbers are required; restore it")
    return [array.astype(np.float32).reshape(len(array), -1) for array in arrays]


def _array(file: Any, path: Path, name: str) -> np.ndarray:
    """A dataset of a file with at least one dimension. ValueError for anything else, before it is read into memory."""
    node = file[name]
    if not getattr(node, "ndim", 0):
        raise ValueError(f"{path}: /{name} is not a series of frames; restore it")
    if node.size * node.dtype.itemsize > MAX_EPISODE_BYTES:
        raise ValueError(f"{path}: /{name} is larger than {MAX_EPISODE_BYTES >> 30} GiB; restore it")
    return np.asarray(node[()])


def _is_span(span: Any) -> bool:
    return (
        isinstance(span, list)
        and len(span) == 2
        and isinstance(span[0], str)
        and bool(span[0].strip())
        and isinstance(span[1], int)
        and span[1] > 0
    )
