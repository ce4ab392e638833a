"""Reader of LIBERO's demonstrations.

*.hdf5   /data, attribute problem_info: JSON with the language_instruction
         /data/demo_<i>/obs/{agentview_rgb,eye_in_hand_rgb} (T, H, W, 3), turned by 180 degrees
         /data/demo_<i>/obs/{ee_states (T, 6), gripper_states (T, 2)}, /data/demo_<i>/actions (T, 7)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wla.compat.hdf5 import columns, images, open_hdf5, require_h5py
from wla.compat.raw_convert import RawEpisode
from wla.data.lerobot.tables import visible

FPS = 20.0
"""Control rate of LIBERO's environments; the files do not contain it."""
CAMERAS = {"agentview_rgb": "image", "eye_in_hand_rgb": "wrist_image"}
"""Name of a camera -> its name in the published LeRobot datasets, the primary one first."""
STATE = ("x", "y", "z", "rotation_x", "rotation_y", "rotation_z", "finger_left", "finger_right")
ACTION = ("dx", "dy", "dz", "drotation_x", "drotation_y", "drotation_z", "gripper")
_DEMO = re.compile(r"demo_(\d+)")


def libero_files(root: Path) -> list[Path]:
    """The files of demonstrations in a folder."""
    return sorted(path for path in root.glob("*_demo.hdf5") if visible(path.relative_to(root)))


class LiberoEpisodes:
    """A `RawSource`. Actions stay as they were recorded: the gripper is -1 open and 1 closed."""

    fps = FPS

    def __init__(self, root: Path) -> None:
        """ValueError when h5py is not installed, the folder contains no demonstrations, or a file is damaged."""
        require_h5py(root)
        self._demos: dict[Path, list[str]] = {}
        for path in libero_files(root):
            with open_hdf5(path) as file:
                names = [name for name in file.get("data", ()) if _DEMO.fullmatch(name)]
            self._demos[path] = sorted(names, key=lambda name: int(name.split("_")[1]))
        if not len(self):
            raise ValueError(f"{root}: has no *_demo.hdf5 with demonstrations; give the folder that contains them")

    def __len__(self) -> int:
        return sum(map(len, self._demos.values()))

    def episodes(self) -> Iterator[RawEpisode]:
        for path, demos in self._demos.items():
            with open_hdf5(path) as file:
                task = _instruction(file["data"].attrs.get("problem_info"), path)
                for demo in demos:
                    yield _episode(file, path, f"data/{demo}", task)


def _episode(file: Any, path: Path, group: str, task: str) -> RawEpisode:
    pose, fingers, actions = columns(
        file, path, [f"{group}/obs/ee_states", f"{group}/obs/gripper_states", f"{group}/actions"]
    )
    state = np.concatenate([pose, fingers], axis=1)
    if (state.shape[1], actions.shape[1]) != (len(STATE), len(ACTION)) or len(state) < 2:
        raise ValueError(
            f"{path}: /{group} has states {state.shape} and actions {actions.shape}; {len(STATE)} and {len(ACTION)} "
            "dimensions and two frames are required, restore it"
        )
    views = {ours: f"{group}/obs/{theirs}" for theirs, ours in CAMERAS.items() if f"{group}/obs/{theirs}" in file}
    if not views:
        raise ValueError(f"{path}: /{group}/obs has none of the cameras {', '.join(CAMERAS)}; record with images")

    def reader(name: str) -> Any:
        return lambda: map(_turned, images(file, path, name, len(state)))

    return RawEpisode(
        path=path,
        state=state,
        actions=actions,
        state_names=STATE,
        action_names=ACTION,
        cameras={camera: reader(name) for camera, name in views.items()},
        instructions=(task,),
        subtasks=("",) * len(state),
    )


def _turned(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return np.ascontiguousarray(image[::-1, ::-1])


def _instruction(problem: Any, path: Path) -> str:
    try:
        text = json.loads(problem)["language_instruction"]
    except (ValueError, TypeError, KeyError, RecursionError):
        text = None
    text = "".join(text) if isinstance(text, list) and all(isinstance(part, str) for part in text) else text
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{path}: problem_info of /data needs a language_instruction; restore it")
    return text.strip().strip('"')
