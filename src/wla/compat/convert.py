"""Conversion of any supported dataset format into a new LeRobot v3.0 dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from wla.compat.aloha import AlohaEpisodes, aloha_files
from wla.compat.lerobot_v21 import convert_v21
from wla.compat.libero import LiberoEpisodes, libero_files
from wla.compat.raw_convert import RawSource, convert_raw
from wla.compat.robotwin import ActionSpace, RawDataset, episode_numbers
from wla.compat.robotwin_v1 import RobotwinEpisodes, episode_files
from wla.data.lerobot.format import EPISODE_FILES, INFO, VERSION, read_info_tree

Layout = Literal["lerobot", "robotwin", "aloha", "libero"]
"""Layouts of datasets that are converted."""


def convert(
    source: Path,
    out: Path,
    *,
    layout: Layout | None = None,
    action: ActionSpace | None = None,
    fps: float | None = None,
    task: str | None = None,
) -> int:
    """Converts a dataset.

    Args:
        source: folder of a LeRobot v2.0 or v2.1 dataset, or of raw RoboTwin, RMBench, ALOHA or LIBERO episodes.
        out: folder of the new dataset.
        layout: of the source; None to recognise it by its files.
        action: for RoboTwin, joint positions (None) or end-effector poses.
        fps: for raw episodes, frames per second; None for what the files state, or their makers' convention.
        task: for ALOHA, the instruction of all episodes.

    Returns:
        Number of episodes.

    Raises:
        ValueError: the source has an unknown format or is damaged, or `out` exists or cannot be written.
    """
    layout = layout or _recognised(source)
    if layout == "lerobot" and (fps is not None or action is not None):
        raise ValueError(f"{source}: a LeRobot dataset has its own actions and fps; omit --action and --fps")
    for name, value, owners in (("action", action, ("robotwin",)), ("task", task, ("aloha",))):
        if value is not None and layout not in owners:
            raise ValueError(f"{source}: --{name} is for {owners[0]}, this is {layout}; leave it out")
    if layout == "lerobot":
        version = str(read_info_tree(source).get("codebase_version"))
        if version.startswith("v3."):
            raise ValueError(f"{source}: is LeRobot {version} already; there is nothing to convert")
        if version not in EPISODE_FILES:
            known = " and ".join(EPISODE_FILES)
            raise ValueError(f"{source}: is LeRobot {version}; only {known} are converted")
        return convert_v21(source, out)
    if fps is not None and fps <= 0:
        raise ValueError(f"fps is {fps:g}; it must be positive")
    return convert_raw(_raw_source(source, layout, action or "joint", task), out, fps=fps)


def _recognised(source: Path) -> Layout:
    """The layout of a folder by the names of its files. ValueError when it is none."""
    if (source / INFO).is_file():
        return "lerobot"
    if episode_numbers(source) or episode_files(source):
        return "robotwin"
    if aloha_files(source):
        return "aloha"
    if libero_files(source):
        return "libero"
    raise ValueError(
        f"{source}: not a dataset that can be converted to LeRobot {VERSION}; give a LeRobot {EPISODE_FILES[-1]} "
        f"folder (with {INFO}), or a folder of raw episodes: RoboTwin (with data/episode0.hdf5 or "
        "data/episode_0000000.hdf5), ALOHA (with episode_0.hdf5) or LIBERO (with *_demo.hdf5)"
    )


def _raw_source(source: Path, layout: Layout, action: ActionSpace, task: str | None) -> RawSource:
    if layout == "aloha":
        if not (task or "").strip():
            raise ValueError(f'{source}: ALOHA files contain no instruction; give one with --task "put the cup down"')
        return AlohaEpisodes(source, str(task).strip())
    if layout == "libero":
        return LiberoEpisodes(source)
    return RobotwinEpisodes(source, action) if episode_files(source) else RawDataset(source, action)
