"""HTML page that compares two evaluations episode by episode: paired differences, and the episodes that differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wla.evaluation.cards import EpisodeCard, make_card
from wla.evaluation.episode_files import episode_folder, read_episodes
from wla.evaluation.paired import EvaluatedRun, Key, changed_episodes, paired_rows, read_pair
from wla.evaluation.report import HINT, REPORT_FILE
from wla.html import Link, beside, embedded, template, write_page
from wla.rollout.results import EpisodeResult, TaskVariant

COMPARE_FILE = "compare.html"


@dataclass(frozen=True)
class Run:
    """An evaluation's folder. cards: of its recorded episodes. report: URL of its own report, None without one."""

    name: str
    description: str
    results: dict[Key, EpisodeResult]
    cards: dict[str, EpisodeCard]
    report: str | None


@dataclass(frozen=True)
class DifferingEpisode:
    """An episode whose outcomes differ; cards where it is recorded. anchor: its id in the page and in the reports."""

    anchor: str
    results: tuple[EpisodeResult, EpisodeResult]
    cards: tuple[EpisodeCard | None, EpisodeCard | None]


def write_comparison(first: Path, second: Path, *, page: Path | None = None, single_file: bool = False) -> Path:
    """Writes the page and returns its path: `page`, by default ``compare.html`` in the folder of the second run.

    FileNotFoundError when a folder holds no evaluation. ValueError for the same folder twice, runs without a common
    episode, a damaged episode or a full disk.
    """
    path = page or second / COMPARE_FILE
    pair = read_pair(first, second)
    link = embedded if single_file else beside(path)
    runs = (_page_run(first, pair[0], "a", link, beside(path)), _page_run(second, pair[1], "b", link, beside(path)))
    rows = paired_rows(pair[0].results, pair[1].results)
    html = template("evaluation/compare.html").render(
        runs=runs,
        rows=rows,
        strips=[(row.variant, _strip(row.variant, runs)) for row in rows if row.variant is not None],
        differing=differing_episodes(runs),
        version_sets=[run.version_sets for run in pair],
    )
    write_page(path, html, HINT)
    return path


def differing_episodes(runs: tuple[Run, Run]) -> list[DifferingEpisode]:
    """Returns the episodes of both runs whose outcomes differ: those that the second run lost come first."""
    found = []
    for key, before, after in changed_episodes(runs[0].results, runs[1].results):
        anchor = episode_folder(*key)
        found.append(DifferingEpisode(anchor, (before, after), (runs[0].cards.get(anchor), runs[1].cards.get(anchor))))
    return found


def _page_run(folder: Path, run: EvaluatedRun, prefix: str, link: Link, link_to_page: Link) -> Run:
    cards = (make_card(episode, record, link) for episode, record in read_episodes(folder / "episodes"))
    report = folder / REPORT_FILE
    return Run(
        name=folder.name or str(folder),
        description=run.description,
        results=run.results,
        cards={card.anchor: replace(card, anchor=f"{prefix}-{card.anchor}") for card in cards},
        report=link_to_page(report) if report.is_file() else None,
    )


def _strip(variant: TaskVariant, runs: Sequence[Run]) -> list[tuple[int, list[EpisodeResult | None]]]:
    """Seed, and its result in each run, of all episodes of a variant."""
    seeds = sorted({seed for run in runs for found, seed in run.results if found == variant})
    return [(seed, [run.results.get((variant, seed)) for run in runs]) for seed in seeds]
