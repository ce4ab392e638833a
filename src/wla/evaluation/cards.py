"""Recorded episodes as the report shows them: links to videos and images, data for the player, its lanes and curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wla.evaluation.episode_files import EpisodeRecord, ScoredCandidate, Subgoal, episode_folder
from wla.html import Link
from wla.html.curves import pack_columns, pack_curve

LANES = {
    "predicted subtask": "Subtask that the policy predicted at each call",
    "finished subtasks": "Subtasks that the policy took as finished, at the step at which it first did; a policy with "
    "memory reads them in its prompt",
}


@dataclass(frozen=True)
class SubgoalPair:
    """An imagined image and the ground-truth frame, as URLs.

    predicted_at, target_step: control steps. scored_candidates: image and record of each candidate that was considered.
    """

    imagined: str
    real: str | None
    predicted_at: int
    target_step: int
    scored_candidates: tuple[tuple[str, ScoredCandidate], ...]


@dataclass(frozen=True)
class EpisodeCard:
    """Contents of one episode's card. anchor: its id in the page. videos: URL and caption. seconds: length of the
    video. data: what the player needs, as JSON."""

    record: EpisodeRecord
    anchor: str
    videos: tuple[tuple[str, str], ...]
    seconds: float
    data: dict[str, Any]
    pairs: tuple[SubgoalPair, ...]


def make_card(folder: Path, record: EpisodeRecord, link: Link) -> EpisodeCard:
    """Returns the card of an episode whose files lie in `folder`."""
    video = folder / "video.mp4"
    return EpisodeCard(
        record=record,
        anchor=episode_folder(record.variant, record.seed),
        videos=((link(video), " · ".join(record.cameras)),) if video.is_file() else (),
        seconds=(record.steps + 1) / record.rate_hz,
        data={
            "frames": record.steps + 1,
            "fps": record.rate_hz,
            "lanes": make_lanes(record),
            "curves": make_curves(record),
        },
        pairs=tuple(_subgoal_pair(folder, subgoal, link) for subgoal in record.subgoals),
    )


def make_lanes(record: EpisodeRecord) -> list[dict[str, Any]]:
    """Returns the lanes of texts, without empty ones; a span is (first frame, frame after the last, text)."""
    texts = (record.subtasks, merge_by_step(record.memory))
    return [
        {"name": name, "title": title, "spans": make_spans(timed_texts, record.steps + 1)}
        for (name, title), timed_texts in zip(LANES.items(), texts, strict=True)
        if timed_texts
    ]


def merge_by_step(items: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Returns (step, text) with all items of the same step joined into one text."""
    steps = dict.fromkeys(step for step, _ in items)
    return tuple((step, "; ".join(text for start, text in items if start == step)) for step in steps)


def make_spans(timed_texts: Sequence[tuple[int, str]], frames: int) -> list[tuple[int, int, str]]:
    """Returns one span per (step, text), in order: it lasts until the next one, the last until the end of the video."""
    ends = [*(start for start, _ in timed_texts), frames][1:]
    return [(start, end, text) for (start, text), end in zip(timed_texts, ends, strict=True)]


def make_curves(record: EpisodeRecord) -> list[dict[str, Any]]:
    """Returns groups of curves over the frames of the video: actions within their limits, state, time per call."""
    actions = np.array(record.actions, float).reshape(len(record.actions), len(record.action_names))
    states = np.array(record.states, float).reshape(len(record.states), len(record.state_names))
    limits = list(zip(record.action_low, record.action_high, strict=True))
    groups = {
        "action": pack_columns(
            record.action_names, actions, units=_shown(record.action_units), limits=limits, style="step"
        ),
        "state": pack_columns(record.state_names, states, units=_shown(record.state_units)) if len(states) else [],
        "time per call": [_latency_curve(record)] if record.calls else [],
    }
    return [{"name": name, "curves": curves} for name, curves in groups.items() if curves]


def _latency_curve(record: EpisodeRecord) -> dict[str, Any]:
    """Milliseconds of the latest call, frame by frame."""
    frames = np.arange(record.steps)
    steps, latencies = (np.array(column, float) for column in zip(*record.calls, strict=True))
    latest = np.searchsorted(steps, frames, side="right") - 1
    values = np.where(latest >= 0, latencies[latest], np.nan)
    return pack_curve("latency", values, unit="ms", limits=(0.0, 0.0), style="step")


def _shown(units: Sequence[str]) -> list[str]:
    """Units as they are written after a number; '1' is none."""
    return ["" if unit == "1" else unit for unit in units]


def _subgoal_pair(folder: Path, subgoal: Subgoal, link: Link) -> SubgoalPair:
    return SubgoalPair(
        imagined=link(folder / subgoal.imagined),
        real=link(folder / subgoal.real) if subgoal.real else None,
        predicted_at=subgoal.predicted_at,
        target_step=subgoal.target_step,
        scored_candidates=tuple((link(folder / each.image), each) for each in subgoal.scored_candidates),
    )
