"""HTML report of an evaluation: success rates, and recorded episodes with predicted subtasks, memory and subgoals.

The report is one self-contained file: videos and images are embedded, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wla.evaluation.episode_files import EpisodeRecord, ScoredCandidate, Subgoal, read_episodes
from wla.evaluation.summary import RULE, load_summary
from wla.files import atomic_write_text, disk_errors
from wla.html import data_url, template
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, read_results
from wla.rollout.subtask_metrics import SubtaskRates

CURVE_WIDTH, CURVE_HEIGHT = 1000, 40
COLOURS = 8
"""Number of subtask colours in the template's style sheet."""


@dataclass(frozen=True)
class VariantResult:
    """One table row. failure_subtasks: (verb, count) of the last subtasks of failures, most frequent first."""

    variant: TaskVariant
    rate: Rate
    failure_subtasks: tuple[tuple[str, int], ...]
    subtask_metrics: SubtaskRates | None


@dataclass(frozen=True)
class Span:
    """A text on the time line; left and width in percent of the video's length, start in seconds."""

    text: str
    left: float
    width: float
    start: float
    colour: int


@dataclass(frozen=True)
class Curve:
    """One action dimension as an SVG path in a box of CURVE_WIDTH x CURVE_HEIGHT.

    low, high: range of the y axis, in `unit`. zero: y coordinate of 0, None outside that range.
    """

    name: str
    unit: str
    low: float
    high: float
    path: str
    zero: float | None


@dataclass(frozen=True)
class SubgoalPair:
    """An imagined image and the ground-truth frame, as data URLs.

    predicted_at, target_step: control steps. target_time: seconds. scored_candidates: image and record of each
    candidate that was considered.
    """

    imagined: str
    real: str | None
    predicted_at: int
    target_step: int
    target_time: float
    scored_candidates: tuple[tuple[str, ScoredCandidate], ...]


@dataclass(frozen=True)
class EpisodeCard:
    """Contents of one episode's card in the template. video: data URL. seconds: length of the video."""

    record: EpisodeRecord
    video: str
    seconds: float
    spans: tuple[Span, ...]
    memory: tuple[Span, ...]
    curves: tuple[Curve, ...]
    pairs: tuple[SubgoalPair, ...]


def write_report(out: Path) -> Path:
    """Writes ``report.html`` from the files in `out` and returns its path.

    FileNotFoundError when `out` holds no evaluation, ValueError for a damaged episode or a full disk.
    """
    summary, results = load_summary(out), read_results(out / "results.jsonl")
    cards = make_cards(read_episodes(out / "episodes"))
    rows = [
        VariantResult(
            variant, rate, count_failure_subtasks(r for r in results if r.variant == variant), subtask_metrics
        )
        for (variant, rate), subtask_metrics in zip(summary.variants, summary.subtask_metrics, strict=True)
    ]
    html = template("evaluation/report.html").render(
        summary=summary,
        rows=rows,
        rule=RULE,
        groups=[
            (row.variant, row.rate, [card for card in cards if card.record.variant == row.variant]) for row in rows
        ],
        errors=[result for result in results if result.outcome == "error"],
        seeds=(min(r.seed for r in results), max(r.seed for r in results)) if results else None,
        version_sets=_version_sets(results),
        curve_size=(CURVE_WIDTH, CURVE_HEIGHT),
    )
    path = out / "report.html"
    with disk_errors(out, "the results are safe: free disk space, then the same command writes the report"):
        atomic_write_text(path, html)
    return path


def count_failure_subtasks(results: Iterable[EpisodeResult]) -> tuple[tuple[str, int], ...]:
    """Returns the three most frequent verbs of the last subtasks of failed episodes, with their counts."""
    verbs = Counter(_verb(r.subtasks[-1][1]) for r in results if r.outcome == "failure" and r.subtasks)
    del verbs[""]
    return tuple(verbs.most_common(3))


def make_cards(episodes: Sequence[tuple[Path, EpisodeRecord]]) -> list[EpisodeCard]:
    """Returns the episodes with their files embedded; a verb keeps one colour throughout the report."""
    colours: dict[str, int] = {}
    for _, record in episodes:
        for _, text in (*record.subtasks, *record.memory):
            colours.setdefault(_verb(text), len(colours) % COLOURS)
    return [
        EpisodeCard(
            record=record,
            video=_embed(folder / "video.mp4", "video/mp4"),
            seconds=(record.steps + 1) / record.rate_hz,
            spans=make_spans(record.subtasks, record, colours),
            memory=make_spans(merge_by_step(record.memory), record, colours),
            curves=make_curves(record),
            pairs=tuple(_subgoal_pair(folder, subgoal, record.rate_hz) for subgoal in record.subgoals),
        )
        for folder, record in episodes
    ]


def merge_by_step(items: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """Returns (step, text) with all items that entered memory at the same step joined into one text."""
    steps = dict.fromkeys(step for step, _ in items)
    return tuple((step, "; ".join(text for start, text in items if start == step)) for step in steps)


def make_spans(
    timed_texts: Sequence[tuple[int, str]], record: EpisodeRecord, colours: dict[str, int]
) -> tuple[Span, ...]:
    """Returns one span per text: it lasts until the next one, the last until the end of the video.

    timed_texts: (step, text) in order. The video has one frame more than the episode has steps.
    """
    frames = record.steps + 1
    ends = [*(start for start, _ in timed_texts), frames][1:]
    return tuple(
        Span(text, 100 * start / frames, 100 * (end - start) / frames, start / record.rate_hz, colours[_verb(text)])
        for (start, text), end in zip(timed_texts, ends, strict=True)
    )


def make_curves(record: EpisodeRecord) -> tuple[Curve, ...]:
    """Returns one curve per action dimension: a step function of time, on the same time scale as the subtasks."""
    step = CURVE_WIDTH / (record.steps + 1)
    curves = []
    for index, (name, unit) in enumerate(zip(record.action_names, record.action_units, strict=True)):
        values = [action[index] for action in record.actions]
        # Actions may leave the limits, which may be infinite; the curve has to show that.
        ends = [x for x in (record.action_low[index], record.action_high[index], *values) if math.isfinite(x)]
        low, high = min(ends, default=0.0), max(ends, default=0.0)
        # A range of nothing is a line in the middle; an episode that crashed in the first call has no line at all.
        top, span = (high, high - low) if high > low else (high + 0.5, 1.0)
        heights = [f"{CURVE_HEIGHT * ((top - value) / span):.1f}" for value in values]
        segments = [f"V{height}H{(t + 1) * step:.1f}" for t, height in enumerate(heights)]
        path = "".join([f"M0 {heights[0]}", *segments]) if heights else ""
        curves.append(Curve(name, unit, low, high, path, CURVE_HEIGHT * (top / span) if low < 0 < high else None))
    return tuple(curves)


def _subgoal_pair(folder: Path, subgoal: Subgoal, rate_hz: float) -> SubgoalPair:
    return SubgoalPair(
        imagined=_embed(folder / subgoal.imagined, "image/jpeg"),
        real=_embed(folder / subgoal.real, "image/jpeg") if subgoal.real else None,
        predicted_at=subgoal.predicted_at,
        target_step=subgoal.target_step,
        target_time=subgoal.target_step / rate_hz,
        scored_candidates=tuple(
            (_embed(folder / candidate.image, "image/jpeg"), candidate) for candidate in subgoal.scored_candidates
        ),
    )


def _verb(text: str) -> str:
    return (text.split() or [""])[0]


def _embed(path: Path, kind: str) -> str:
    return data_url(path.read_bytes(), kind)


def _version_sets(results: Iterable[EpisodeResult]) -> list[dict[str, str]]:
    """Distinct sets of software versions among the results: with more than one, numbers may not be comparable."""
    return list({tuple(sorted(r.versions.items())): r.versions for r in results}.values())
