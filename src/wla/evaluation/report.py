"""One HTML file that shows a folder of results: rates, and recorded episodes with what the policy meant to do.

The file needs nothing but itself: videos and images are inside it, and it loads nothing from anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wla.evaluation.benchmark import RULE, load_summary
from wla.evaluation.episode_files import Shown, Weighed, read_episodes
from wla.files import disk_errors, write_whole
from wla.html import data_url, template
from wla.rollout.results import Case, EpisodeResult, Rate, read_results
from wla.rollout.subtask_metrics import WordRates

CURVE_WIDTH, CURVE_HEIGHT = 1000, 40
COLOURS = 8
"""Colours of subtasks in the template's style sheet."""


@dataclass(frozen=True)
class Row:
    """One line of the table. where: the subtasks in which failures ended, most frequent first."""

    case: Case
    rate: Rate
    where: tuple[tuple[str, int], ...]
    words: WordRates | None


@dataclass(frozen=True)
class Span:
    """A subtask on the time line; left and width are percentages of the video's length, start is in seconds."""

    words: str
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
class Pair:
    """An imagined image and the frame that came, as data addresses; due: seconds. weighed: the candidates that it was
    chosen from, each with its image."""

    imagined: str
    real: str | None
    asked_at: int
    due_at: int
    due: float
    weighed: tuple[tuple[str, Weighed], ...]


@dataclass(frozen=True)
class Card:
    """Everything that the template shows of one episode."""

    shown: Shown
    video: str
    seconds: float
    spans: tuple[Span, ...]
    memory: tuple[Span, ...]
    curves: tuple[Curve, ...]
    pairs: tuple[Pair, ...]


def write_report(out: Path) -> Path:
    """Write ``report.html`` from the files in `out` and return its path. FileNotFoundError when there are none."""
    summary, results = load_summary(out), read_results(out / "results.jsonl")
    cards = make_cards(read_episodes(out / "episodes"))
    rows = [
        Row(case, rate, failed_in(r for r in results if r.case == case), words)
        for (case, rate), words in zip(summary.cases, summary.words, strict=True)
    ]
    html = template("evaluation/report.html").render(
        summary=summary,
        rows=rows,
        rule=RULE,
        groups=[(row.case, row.rate, [card for card in cards if card.shown.case == row.case]) for row in rows],
        errors=[result for result in results if result.outcome == "error"],
        seeds=(min(r.seed for r in results), max(r.seed for r in results)) if results else None,
        fingerprints=_fingerprints(results),
        curve_size=(CURVE_WIDTH, CURVE_HEIGHT),
    )
    path = out / "report.html"
    with disk_errors(out, "the results are safe: free disk space, then the same command writes the report"):
        write_whole(path, html)
    return path


def failed_in(results: Iterable[EpisodeResult]) -> tuple[tuple[str, int], ...]:
    """First words of the subtasks in which failed episodes ended, with how often."""
    ends = Counter(_verb(r.subtasks[-1][1]) for r in results if r.outcome == "failure" and r.subtasks)
    return tuple(ends.most_common(3))


def make_cards(episodes: Sequence[tuple[Path, Shown]]) -> list[Card]:
    """Episodes with their files embedded. One verb has one colour throughout the report."""
    verbs: dict[str, int] = {}
    for _, shown in episodes:
        for _, words in (*shown.subtasks, *shown.memory):
            verbs.setdefault(_verb(words), len(verbs) % COLOURS)
    return [
        Card(
            shown=shown,
            video=_embed(folder / "video.mp4", "video/mp4"),
            seconds=(shown.steps + 1) / shown.rate_hz,
            spans=make_spans(shown.subtasks, shown, verbs),
            memory=make_spans(together(shown.memory), shown, verbs),
            curves=make_curves(shown),
            pairs=tuple(
                Pair(
                    imagined=_embed(folder / subgoal.imagined, "image/jpeg"),
                    real=_embed(folder / subgoal.real, "image/jpeg") if subgoal.real else None,
                    asked_at=subgoal.asked_at,
                    due_at=subgoal.due_at,
                    due=subgoal.due_at / shown.rate_hz,
                    weighed=tuple((_embed(folder / each.image, "image/jpeg"), each) for each in subgoal.weighed),
                )
                for subgoal in shown.subgoals
            ),
        )
        for folder, shown in episodes
    ]


def together(items: Sequence[tuple[int, str]]) -> tuple[tuple[int, str], ...]:
    """What entered memory at the same step as one text."""
    steps = dict.fromkeys(step for step, _ in items)
    return tuple((step, "; ".join(text for at, text in items if at == step)) for step in steps)


def make_spans(said: Sequence[tuple[int, str]], shown: Shown, colours: dict[str, int]) -> tuple[Span, ...]:
    """Each text lasts until the next one, the last until the end of the video (one frame more than steps)."""
    frames = shown.steps + 1
    ends = [*(start for start, _ in said), frames][1:]
    return tuple(
        Span(words, 100 * start / frames, 100 * (end - start) / frames, start / shown.rate_hz, colours[_verb(words)])
        for (start, words), end in zip(said, ends, strict=True)
    )


def make_curves(shown: Shown) -> tuple[Curve, ...]:
    """Each action holds for one step, so the curves are stairs, on the same time scale as the subtasks."""
    step = CURVE_WIDTH / (shown.steps + 1)
    curves = []
    for index, (name, unit) in enumerate(zip(shown.action_names, shown.action_units, strict=True)):
        values = [action[index] for action in shown.actions]
        # Actions may leave the limits; the curve has to show that.
        low, high = min(shown.action_low[index], *values), max(shown.action_high[index], *values)
        scale = CURVE_HEIGHT / (high - low)
        stairs = [f"V{(high - value) * scale:.1f}H{(at + 1) * step:.1f}" for at, value in enumerate(values)]
        path = "".join([f"M0 {(high - values[0]) * scale:.1f}", *stairs])
        curves.append(Curve(name, unit, low, high, path, high * scale if low < 0 < high else None))
    return tuple(curves)


def _verb(words: str) -> str:
    return words.split()[0]


def _embed(path: Path, kind: str) -> str:
    return data_url(path.read_bytes(), kind)


def _fingerprints(results: Iterable[EpisodeResult]) -> list[dict[str, str]]:
    """Every set of versions that took part: more than one means that numbers may not compare."""
    return list({tuple(sorted(r.fingerprint.items())): r.fingerprint for r in results}.values())
