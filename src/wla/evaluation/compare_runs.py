"""HTML page that compares two evaluations episode by episode: paired differences, and the episodes that differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wla.evaluation.cards import EpisodeCard, make_card
from wla.evaluation.episode_files import episode_folder, read_episodes
from wla.evaluation.report import HINT, REPORT_FILE
from wla.evaluation.summary import Identity, describe, load_summary
from wla.html import Link, beside, embedded, template, write_page
from wla.intervals import Interval, paired_difference
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, read_results, success_rate

COMPARE_FILE = "compare.html"
Key = tuple[TaskVariant, int]
"""Task variant and seed of an episode."""


@dataclass(frozen=True)
class Run:
    """An evaluation's folder. cards: of its recorded episodes. report: URL of its own report, None without one."""

    name: str
    description: str
    results: dict[Key, EpisodeResult]
    cards: dict[str, EpisodeCard]
    report: str | None


@dataclass(frozen=True)
class PairedRow:
    """Success of two runs in one task variant (None: in all), over the episodes of each.

    pairs: episodes that were decided in both. difference: of the second from the first over the pairs, None without
    any. only_first, only_second: pairs in which only that run succeeded.
    """

    variant: TaskVariant | None
    rates: tuple[Rate, Rate]
    pairs: int
    only_first: int
    only_second: int
    difference: Interval | None


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
    if first.resolve() == second.resolve():
        raise ValueError(f"{first}: is compared with itself; give two evaluations")
    link = embedded if single_file else beside(path)
    runs = (_read(first, "a", link, beside(path)), _read(second, "b", link, beside(path)))
    if not runs[0].results.keys() & runs[1].results.keys():
        raise ValueError(
            f"{first} and {second} have no episode of the same task, setting, robot, protocol and seed; evaluate both "
            "with the same --tasks, --seed and --protocol"
        )
    variants = list(dict.fromkeys(variant for run in runs for variant, _ in run.results))
    html = template("evaluation/compare.html").render(
        runs=runs,
        rows=[paired_row(variant, runs) for variant in (None, *variants)],
        strips=[(variant, _strip(variant, runs)) for variant in variants],
        differing=differing_episodes(runs),
        version_sets=[list({tuple(sorted(r.versions.items())) for r in run.results.values()}) for run in runs],
    )
    write_page(path, html, HINT)
    return path


def paired_row(variant: TaskVariant | None, runs: tuple[Run, Run]) -> PairedRow:
    """Returns the comparison of two runs in a variant, or in all."""
    first, second = ({k: r for k, r in run.results.items() if variant in (None, k[0])} for run in runs)
    pairs = [
        (first[key].outcome == "success", second[key].outcome == "success")
        for key in first.keys() & second.keys()
        if "error" not in (first[key].outcome, second[key].outcome)
    ]
    return PairedRow(
        variant=variant,
        rates=(success_rate(first.values()), success_rate(second.values())),
        pairs=len(pairs),
        only_first=pairs.count((True, False)),
        only_second=pairs.count((False, True)),
        difference=paired_difference([b for _, b in pairs], [a for a, _ in pairs]),
    )


def differing_episodes(runs: tuple[Run, Run]) -> list[DifferingEpisode]:
    """Returns the episodes of both runs whose outcomes differ: those that the second run lost come first."""
    found = []
    for key in runs[0].results.keys() & runs[1].results.keys():
        results = (runs[0].results[key], runs[1].results[key])
        if results[0].outcome != results[1].outcome:
            anchor = episode_folder(*key)
            found.append(DifferingEpisode(anchor, results, (runs[0].cards.get(anchor), runs[1].cards.get(anchor))))
    return sorted(found, key=lambda each: (each.results[0].outcome != "success", each.results[0].task, each.anchor))


def _read(folder: Path, prefix: str, link: Link, link_to_page: Link) -> Run:
    load_summary(folder)  # says what is wrong with a folder that is no evaluation
    cards = (make_card(episode, record, link) for episode, record in read_episodes(folder / "episodes"))
    report = folder / REPORT_FILE
    return Run(
        name=folder.name or str(folder),
        description=describe(Identity.load(folder / "run.json")),
        results=_by_key(read_results(folder / "results.jsonl")),
        cards={card.anchor: replace(card, anchor=f"{prefix}-{card.anchor}") for card in cards},
        report=link_to_page(report) if report.is_file() else None,
    )


def _by_key(results: Iterable[EpisodeResult]) -> dict[Key, EpisodeResult]:
    return {(result.variant, result.seed): result for result in results}


def _strip(variant: TaskVariant, runs: Sequence[Run]) -> list[tuple[int, list[EpisodeResult | None]]]:
    """Seed, and its result in each run, of all episodes of a variant."""
    seeds = sorted({seed for run in runs for found, seed in run.results if found == variant})
    return [(seed, [run.results.get((variant, seed)) for run in runs]) for seed in seeds]
