"""HTML report of an evaluation: success rates, and recorded episodes with predicted subtasks, memory and subgoals.

Videos and images lie beside the report, in ``episodes/``, and load when they come into view; a report that is a single
file embeds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wla.evaluation.cards import EpisodeCard, make_card
from wla.evaluation.episode_files import EpisodeRecord, episode_folder, read_episodes
from wla.evaluation.subtask_rates import COLUMNS, REFERENCE, SubtaskRates
from wla.evaluation.summary import RULE, Summary, load_summary, version_sets
from wla.html import beside, embedded, template, write_page
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, read_results

REPORT_FILE = "report.html"
HINT = "the results are safe: free disk space, then `wla report` writes the report"


@dataclass(frozen=True)
class VariantResult:
    """One table row. failure_subtasks: (first word, count) of the last subtasks of failures, most frequent first."""

    variant: TaskVariant
    rate: Rate
    failure_subtasks: tuple[tuple[str, int], ...]
    subtask_metrics: SubtaskRates | None


@dataclass(frozen=True)
class LatencySummary:
    """Milliseconds per call of the policy over the recorded episodes."""

    calls: int
    median: float
    p95: float
    longest: float


def write_report(out: Path, *, page: Path | None = None, single_file: bool = False) -> Path:
    """Writes the report of the evaluation in `out` and returns its path: `page`, by default ``report.html`` in it.

    FileNotFoundError when `out` holds no evaluation, ValueError for a damaged episode or a full disk.
    """
    path = page or out / REPORT_FILE
    summary, results = load_summary(out), read_results(out / "results.jsonl")
    episodes = read_episodes(out / "episodes")
    link = embedded if single_file else beside(path)
    cards = {card.anchor: card for card in (make_card(folder, record, link) for folder, record in episodes)}
    rows = variant_rows(summary, results)
    html = template("evaluation/report.html").render(
        summary=summary,
        rows=rows,
        rule=RULE,
        subtask_columns=COLUMNS,
        subtask_reference=REFERENCE,
        groups=[(row, *_episodes_of(row.variant, results, cards)) for row in rows],
        num_shown=len(cards),
        outcomes=Counter(card.record.outcome for card in cards.values()),
        errors=[result for result in results if result.outcome == "error"],
        seeds=(min(r.seed for r in results), max(r.seed for r in results)) if results else None,
        version_sets=version_sets(results),
        latency=summarise_latency([record for _, record in episodes]),
        anchor=lambda result: episode_folder(result.variant, result.seed),
    )
    write_page(path, html, HINT)
    return path


def variant_rows(summary: Summary, results: Sequence[EpisodeResult]) -> list[VariantResult]:
    """Returns the table of a run, a row per task variant."""
    return [
        VariantResult(
            variant, rate, count_failure_subtasks(r for r in results if r.variant == variant), subtask_metrics
        )
        for (variant, rate), subtask_metrics in zip(summary.variants, summary.subtask_metrics, strict=True)
    ]


def count_failure_subtasks(results: Iterable[EpisodeResult]) -> tuple[tuple[str, int], ...]:
    """Returns the three most frequent first words of the last subtasks of failed episodes, with their counts."""
    last = (r.subtasks[-1][1].split() for r in results if r.outcome == "failure" and r.subtasks)
    return tuple(Counter(words[0] for words in last if words).most_common(3))


def summarise_latency(records: Iterable[EpisodeRecord]) -> LatencySummary | None:
    """Returns None when no call was timed."""
    latencies = [milliseconds for record in records for _, milliseconds in record.calls]
    if not latencies:
        return None
    median, p95 = np.percentile(latencies, [50, 95])
    return LatencySummary(len(latencies), float(median), float(p95), max(latencies))


def _episodes_of(
    variant: TaskVariant, results: Sequence[EpisodeResult], cards: dict[str, EpisodeCard]
) -> tuple[list[EpisodeResult], list[EpisodeCard]]:
    """All episodes of a variant by seed, and the cards of the recorded ones, failures first."""
    own = sorted((r for r in results if r.variant == variant), key=lambda r: r.seed)
    shown = [card for card in cards.values() if card.record.variant == variant]
    return own, sorted(shown, key=lambda card: (card.record.outcome == "success", card.record.seed))
