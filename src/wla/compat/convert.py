"""Conversion of any supported dataset format into a new LeRobot v3.0 dataset."""

from __future__ import annotations

from pathlib import Path

from wla.compat.lerobot_v21 import V21, convert_v21
from wla.compat.robotwin import ActionSpace, episode_numbers
from wla.compat.robotwin_convert import convert_robotwin
from wla.data.lerobot.format import INFO, VERSION, read_info_tree

ROBOTWIN_FPS = 30.0
"""Frame rate of the published RMBench-LeRobot datasets of the same episodes; the raw files do not contain it."""


def convert(source: Path, out: Path, *, action: ActionSpace | None = None, fps: float | None = None) -> int:
    """Converts a dataset.

    Args:
        source: LeRobot v2.1 folder, or folder of raw RoboTwin or RMBench episodes.
        out: folder of the new dataset.
        action: for raw episodes, 14 joint positions (None) or 16 numbers of end-effector poses.
        fps: for raw episodes, frames per second; None for 30.

    Returns:
        Number of episodes.

    Raises:
        ValueError: the source has an unknown format or is damaged, or `out` exists or cannot be written.
    """
    if (source / INFO).is_file():
        version = str(read_info_tree(source).get("codebase_version"))
        if version.startswith("v3."):
            raise ValueError(f"{source}: is LeRobot {version} already; there is nothing to convert")
        if version != V21:
            raise ValueError(f"{source}: is LeRobot {version}; convert it to {V21} with LeRobot's own scripts first")
        if action is not None or fps is not None:
            raise ValueError(f"{source}: a LeRobot dataset has its own actions and fps; omit --action and --fps")
        return convert_v21(source, out)
    if episode_numbers(source):
        if fps is not None and fps <= 0:
            raise ValueError(f"fps is {fps:g}; it must be positive")
        return convert_robotwin(source, out, space=action or "joint", fps=fps or ROBOTWIN_FPS)
    raise ValueError(
        f"{source}: not a dataset that can be converted to LeRobot {VERSION}; give a LeRobot {V21} folder (with "
        f"{INFO}), or a folder of raw RoboTwin episodes (with data/episode0.hdf5)"
    )
