"""What a dataset offers to compare an environment with: its statistics, and the episodes of each task."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.lerobot.reader import LeRobotDataset
from wla.doctor.finding import Finding
from wla.doctor.other_checks import check_statistics
from wla.doctor.trajectories import Trajectory, recorded
from wla.files import read_json
from wla.rollout.results import TaskVariant, read_results

FORMAT_KEYS = {"state": "observation.state", "action": "action"}


def statistics_findings(dataset: LeRobotDataset) -> list[Finding]:
    """Whether the statistics that a dataset states, with which others normalise, are those of its frames."""
    path = dataset.root / "meta/stats.json"
    if not path.is_file():
        return [Finding("statistics", "the dataset states none (meta/stats.json)", None)]
    tree = read_json(path, missing="")
    rows = {"state": dataset.state, "action": dataset.actions}
    findings = []
    for name, key in FORMAT_KEYS.items():
        stated, values = tree.get(key), rows[name]
        if values is not None and isinstance(stated, dict) and {"min", "max"} <= stated.keys():
            findings.append(check_statistics(f"{name} in {path.name}", stated, values))
    return findings


def recordings_of(
    dataset: LeRobotDataset, variants: Sequence[TaskVariant], episodes: int
) -> dict[TaskVariant, list[Trajectory]]:
    """The first episodes of each variant, as collect.jsonl tells them apart; of a single variant without that file.

    ValueError where several tasks are asked for, and nothing tells which episodes are theirs.
    """
    lines = read_results(dataset.root / "collect.jsonl")
    variant_of = {(line.seed, line.instruction): line.variant for line in lines}
    if not lines and len(variants) > 1:
        raise ValueError(
            f"{dataset.root}: nothing tells the task of its episodes; name the one that was recorded: --tasks NAME"
        )
    found: dict[TaskVariant, list[Trajectory]] = {}
    for episode in dataset.episodes:
        variant = variant_of.get((episode.seed or 0, episode.instruction)) if lines else variants[0]
        if variant is not None and variant in variants and len(found.setdefault(variant, [])) < episodes:
            found[variant].append(recorded(dataset, episode))
    if not found:
        asked = ", ".join(dict.fromkeys(variant.task for variant in variants))
        raise ValueError(f"{dataset.root}: holds no episodes of {asked}, in this setting and on this robot")
    return found
