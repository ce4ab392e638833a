"""Any known source -> a new LeRobot v3.0 dataset."""

from __future__ import annotations

from pathlib import Path

from wla.compat.lerobot_v21 import V21, convert_v21
from wla.compat.robotwin import ActionSpace, episode_numbers
from wla.compat.robotwin_convert import convert_robotwin
from wla.data.lerobot.format import INFO, VERSION, read_info_tree

ROBOTWIN_FPS = 30.0
"""What the published RMBench-LeRobot says of the same episodes. The raw files do not tell their rate."""


def convert(source: Path, out: Path, *, action: ActionSpace | None = None, fps: float | None = None) -> int:
    """Write `source` as the new dataset `out` and return its number of episodes.

    source: a LeRobot v2.1 folder, or a folder of raw RoboTwin or RMBench episodes. action and fps are for the latter:
    14 joints (default) or 16 numbers of end-effector poses, and frames per second (default 30).

    ValueError when the source is none of these or damaged, or when `out` exists or cannot be written.
    """
    if (source / INFO).is_file():
        version = str(read_info_tree(source).get("codebase_version"))
        if version.startswith("v3."):
            raise ValueError(f"{source}: is {version} already; there is nothing to convert")
        if version != V21:
            raise ValueError(f"{source}: is LeRobot {version}; use LeRobot's own scripts to make it {V21} first")
        if action is not None or fps is not None:
            raise ValueError(f"{source}: is a LeRobot dataset, which has its own actions and fps; leave both out")
        return convert_v21(source, out)
    if episode_numbers(source):
        if fps is not None and fps <= 0:
            raise ValueError(f"fps is {fps:g}; it must be positive")
        return convert_robotwin(source, out, space=action or "joint", fps=fps or ROBOTWIN_FPS)
    raise ValueError(
        f"{source}: nothing that can become LeRobot {VERSION}; give a LeRobot {V21} folder (with {INFO}), or one of "
        "raw RoboTwin episodes (with data/episode0.hdf5)"
    )
