"""One HTML file that shows a folder of results: rates, and recorded episodes with what the policy meant to do.

The file needs nothing but itself: videos and images are inside it, and it loads nothing from anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wla.evaluation.episode_files import EpisodeRecord, ScoredCandidate, read_episodes
from wla.evaluation.summary import RULE, load_summary
from wla.files import atomic_write_text, disk_errors
from wla.html import data_url, template
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, read_results
from wla.rollout.subtask_metrics import SubtaskRates

CURVE_WIDTH, CURVE_HEIGHT = 1000, 40
COLOURS = 8
"""Colours of subtasks in the template's style sheet."""


@dataclass(frozen=True)
class VariantResult:
    """One line of the table. where: the subtasks in which failures ended, most frequent first."""

    variant: TaskVariant
    rate: Rate
    failure_subtasks: tuple[tuple[str, int], ...]
    subtask_metrics: SubtaskRates | None


@dataclass(frozen=True)
class Span:
    """A subtask on the time line; left and width are percentages of the video's length, start is in seconds."""

    text: str
    left: float
    width: float
    start: float
    colour: int


@dataclass(frozen=True)
class Curve:
    """One action dimension as an SVG path in a box of CURVE_WIDTH x CURVE_HEIGHT. zero: y of 0, if inside."""

    name: str
    unit: str
    low: float
    high: float
    path: str
    zero: float | None


@dataclass(frozen=True)
class SubgoalPair:
    """An imagined image and the frame that came, as data addresses; due: seconds. weighed: the candidates that it was
    chosen from, each with its image."""

    imagined: str
    real: str | None
    predicted_at: int
    target_step: int
    target_time: float
    scored_candidates: tuple[tuple[str, ScoredCandidate], ...]


@dataclass(frozen=True)
class EpisodeCard:
    """Everything that the template shows of one episode."""

    record: EpisodeRecord
    video: str
    seconds: float
    spans: tuple[Span, ...]
    memory: tuple[Span, ...]
    curves: tuple[Curve, ...]
    pairs: tuple[SubgoalPair, ...]


def write_report(out: Path) -> Path:
    """Write ``report.html`` from the files in `out` and return its path. FileNotFoundError when there are none."""
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
    """First words of the subtasks in which failed episodes ended, with how often."""
    ends = Counter(_verb(r.subtasks[-1][1]) for r in results if r.outcome == "failure" and r.subtasks)
    return tuple(ends.most_common(3))


def make_cards(episodes: Sequence[tuple[Path, EpisodeRecord]]) -> list[EpisodeCard]:
    """Episodes with their files embedded. One verb has one colour throughout the report."""
    verbs: dict[str, int] = {}
    for _, record in episodes:
        for _, words in (*record.subtasks, *record.memory):
            verbs.setdefault(_verb(words), len(verbs) % COLOURS)
    return [
        EpisodeCard(
            record=record,
            video=_embed(folder / "video.mp4", "video/mp4"),
            seconds=(record.steps + 1) / record.rate_hz,
            spans=make_spans(record.subtasks, record, verbs),
            memory=make_spans(merge_by_step(record.memory), record, verbs),
            curves=make_curves(record),
            pairs=tuple(
                SubgoalPair(
                    imagined=_embed(folder / subgoal.imagined, "image/jpeg"),
                    real=_embed(folder / subgoal.real, "image/jpeg") if subgoal.real else None,
                    predicted_at=subgoal.predicted_at,
                    target_step=subgoal.target_step,
                    target_time=subgoal.target_step / record.rate_hz,
                    scored_candidates=tuple(
                        (_embed(folder / each.image, "image/jpeg"), each) for each in subgoal.scored_candidates
                    ),
                )
                for subgoal in record.subgoals
            ),
        )
        for folder, record in episodes
    ]


def merge_by_step(items: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """What entered memory at the same step as one text."""
    steps = dict.fromkeys(step for step, _ in items)
    return tuple((step, "; ".join(text for at, text in items if at == step)) for step in steps)


def make_spans(
    timed_texts: Sequence[tuple[int, str]], record: EpisodeRecord, colours: dict[str, int]
) -> tuple[Span, ...]:
    """Each text lasts until the next one, the last until the end of the video (one frame more than steps)."""
    frames = record.steps + 1
    ends = [*(start for start, _ in timed_texts), frames][1:]
    return tuple(
        Span(words, 100 * start / frames, 100 * (end - start) / frames, start / record.rate_hz, colours[_verb(words)])
        for (start, words), end in zip(timed_texts, ends, strict=True)
    )


def make_curves(record: EpisodeRecord) -> tuple[Curve, ...]:
    """Each action holds for one step, so the curves are stairs, on the same time scale as the subtasks."""
    step = CURVE_WIDTH / (record.steps + 1)
    curves = []
    for index, (name, unit) in enumerate(zip(record.action_names, record.action_units, strict=True)):
        values = [action[index] for action in record.actions]
        # Actions may leave the limits; the curve has to show that.
        low, high = min(record.action_low[index], *values), max(record.action_high[index], *values)
        scale = CURVE_HEIGHT / (high - low)
        stairs = [f"V{(high - value) * scale:.1f}H{(at + 1) * step:.1f}" for at, value in enumerate(values)]
        path = "".join([f"M0 {(high - values[0]) * scale:.1f}", *stairs])
        curves.append(Curve(name, unit, low, high, path, high * scale if low < 0 < high else None))
    return tuple(curves)


def _verb(words: str) -> str:
    return words.split()[0]


def _embed(path: Path, kind: str) -> str:
    return data_url(path.read_bytes(), kind)


def _version_sets(results: Iterable[EpisodeResult]) -> list[dict[str, str]]:
    """Every set of versions that took part: more than one means that numbers may not compare."""
    return list({tuple(sorted(r.versions.items())): r.versions for r in results}.values())
