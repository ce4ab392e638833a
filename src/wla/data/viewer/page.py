"""Data of a page about a dataset: its episodes with clips, curves, instructions and subtasks."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.data.viewer.clips import write_clips
from wla.files import disk_errors
from wla.html import beside, embedded, template, write_page
from wla.html.curves import Style, pack_columns, pack_curve
from wla.progress import progress_bar

CLIP_SIZE = 320
"""Longer side of a clip, pixels."""
Part = tuple[int, int, str]
"""First frame, last frame and text of a subtask."""


def write_dataset_page(
    path: Path,
    dataset: LeRobotDataset,
    subtasks: Mapping[int, Sequence[Part]],
    *,
    page: str = "data/viewer/view.html",
    episodes: int,
    single_file: bool = False,
    **context: Any,
) -> int:
    """Writes a page about a dataset, with its clips in a folder beside it: ``labels_files`` for ``labels.html``.

    Args:
        path: HTML file.
        dataset: any dataset, also without cameras.
        subtasks: index of an episode -> its subtasks in order.
        page: template.
        episodes: largest number of episodes to show, evenly spaced.
        single_file: whether the clips are embedded in the page.
        context: more variables of the template.

    Returns:
        Number of shown episodes.

    Raises:
        ValueError: a video is damaged, or the page cannot be written.
    """
    last = len(dataset.episodes) - 1
    shown = np.unique(np.linspace(0, last, min(episodes, last + 1)).round().astype(int)).tolist()
    hint = "give another file or free disk space"
    with disk_errors(path, hint):
        media = _write_media(path, dataset, shown, single_file=single_file)
    tree = {
        "name": dataset.root.resolve().name,
        "key": dataset_key(dataset),
        "fps": dataset.fps,
        "cameras": list(dataset.readable_cameras),
        "episodes": [
            _episode_tree(dataset, episode, subtasks.get(episode.index, []), media.get(number))
            for number, episode in enumerate(dataset.episodes)
        ],
    }
    html = template(page).render(data=tree, num_shown=len(shown), num_episodes=last + 1, **context)
    write_page(path, html, hint)
    return len(shown)


def _write_media(
    path: Path, dataset: LeRobotDataset, shown: Sequence[int], *, single_file: bool
) -> dict[int, list[str]]:
    """Number of a shown episode -> URLs of its clips, one per camera."""
    beside_page = path.parent / f"{path.stem}_files"
    folder: AbstractContextManager[str | Path] = (
        tempfile.TemporaryDirectory() if single_file else nullcontext(beside_page)
    )
    link = embedded if single_file else beside(path)
    with folder as clips, progress_bar() as progress:
        Path(clips).mkdir(parents=True, exist_ok=True)
        return {
            number: [link(file) for file in write_clips(dataset, dataset.episodes[number], Path(clips), CLIP_SIZE)]
            for number in progress.track(shown, description="encoding")
        }


def _episode_tree(
    dataset: LeRobotDataset, episode: Episode, parts: Sequence[Part], videos: list[str] | None
) -> dict[str, Any]:
    """An episode as the page's script reads it; without videos and curves where it is not shown."""
    return {
        "index": episode.index,
        "instruction": episode.instruction,
        "length": len(episode),
        "success": episode.success,
        "subtasks": parts,
        "videos": videos,
        "curves": episode_curves(dataset, episode) if videos is not None else [],
    }


def dataset_key(dataset: LeRobotDataset) -> str:
    """Returns a name of a dataset's content, under which a browser keeps drafts: equal for copies of it."""
    episodes = [(episode.index, len(episode), episode.instruction) for episode in dataset.episodes]
    return hashlib.sha256(json.dumps(episodes).encode()).hexdigest()[:16]


def episode_curves(dataset: LeRobotDataset, episode: Episode) -> list[dict[str, Any]]:
    """Returns groups of curves of an episode: state, action and reward, those that the dataset has."""
    spec, frames = dataset.robot_spec, slice(episode.start, episode.end)
    groups = []
    for name, names, values, units in (
        ("state", dataset.state_names, dataset.state, spec.observation.state_units if spec else ()),
        ("action", dataset.action_names, dataset.actions, spec.action.units if spec else ()),
    ):
        if values is not None and values.shape[1]:
            shown = ["" if unit == "1" else unit for unit in units]
            style: Style = "step" if name == "action" else "line"
            groups.append({"name": name, "curves": pack_columns(names, values[frames], units=shown, style=style)})
    if dataset.rewards is not None:
        groups.append({"name": "reward", "curves": [pack_curve("reward", dataset.rewards[frames])]})
    return groups
