"""Reader of ALOHA's recordings (ACT and its descendants).

episode_<i>.hdf5   /observations/qpos (T, S), /action (T, A)
                   /observations/images/CAMERA (T, H, W, 3), or encoded images, padded with zeros
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from wla.compat.hdf5 import columns, images, open_hdf5, require_h5py
from wla.compat.raw_convert import RawEpisode

FPS = 50.0
"""Rate at which ALOHA records; the files do not contain it."""
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
PRIMARY = ("cam_high", "top")
_FILE = re.compile(r"episode_(\d+)\.hdf5")


def aloha_files(root: Path) -> list[Path]:
    """The episodes of a folder in the order of their numbers."""
    found = [path for path in root.glob("episode_*.hdf5") if _FILE.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.split("_")[1]))


class AlohaEpisodes:
    """A `RawSource`."""

    fps = FPS

    def __init__(self, root: Path, task: str) -> None:
        """task: instruction of all episodes, which the files do not contain. ValueError when h5py is not installed, or
        the folder contains no episodes."""
        require_h5py(root)
        self._files, self._task = aloha_files(root), task
        if not self._files:
            raise ValueError(f"{root}: has no episode_<number>.hdf5; give the folder that contains them")

    def __len__(self) -> int:
        return len(self._files)

    def episodes(self) -> Iterator[RawEpisode]:
        for path in self._files:
            with open_hdf5(path) as file:
                yield self._episode(file, path)

    def _episode(self, file: Any, path: Path) -> RawEpisode:
        state, actions = columns(file, path, ["observations/qpos", "action"])
        if len(state) < 2:
            raise ValueError(f"{path}: has fewer than 2 frames; remove the episode")
        cameras = sorted(file.get("observations/images", ()), key=lambda name: (name not in PRIMARY, name))
        if not cameras:
            raise ValueError(f"{path}: has no /observations/images; record with cameras")
        return RawEpisode(
            path=path,
            state=state,
            actions=actions,
            state_names=_names(state.shape[1]),
            action_names=_names(actions.shape[1]),
            cameras={name: partial(images, file, path, f"observations/images/{name}", len(state)) for name in cameras},
            instructions=(self._task,),
            subtasks=("",) * len(state),
        )


def _names(width: int) -> tuple[str, ...]:
    if width == 2 * len(JOINTS):
        return tuple(f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS)
    return tuple(f"joint_{number}" for number in range(1, width + 1))
