"""Files of an ablation's folder: its configuration, the table of success, and what each variant costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from wla.config import Record
from wla.evaluation.comparison import VariantResult, compare_variants, table
from wla.files import atomic_write_text, disk_errors
from wla.rollout.results import EpisodeResult
from wla.run_folder import checkpoint_folder
from wla.training.ablation_calls import call_costs, calls_table
from wla.training.ablation_config import Ablation, folder_name
from wla.training.ablation_costs import costs_table, variant_costs

CONFIG = "config.json"
"""File of an ablation's folder with its configuration."""
COSTS, CALLS = "costs.md", "calls.md"


def table_path(config: Ablation, out: Path) -> Path:
    """Returns the file of the table; the results lie beside it as JSON."""
    return out / f"{config.split}.md"


def run_folder(out: Path, variant: str, seed: int) -> Path:
    """Returns the folder of a variant's training run with that seed."""
    return out / folder_name(variant) / f"seed_{seed}" / "run"


def require_same_ablation(config: Ablation, out: Path) -> None:
    """ValueError when the folder holds another ablation; only the split of the evaluation may differ."""
    path = out / CONFIG
    if path.exists() and Ablation.load(path).replace(split=config.split) != config:
        raise ValueError(f"{out}: holds a different ablation; use another --out folder")


def save_config(config: Ablation, out: Path) -> None:
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        config.save(out / CONFIG)


def write_tables(
    config: Ablation, out: Path, results: Mapping[str, Sequence[Sequence[EpisodeResult]]]
) -> list[VariantResult]:
    """Writes the tables of what has been trained and evaluated so far, and returns the first. results: variant -> the
    episodes of each training seed that is finished."""
    finished = {variant: runs for variant, runs in results.items() if runs}
    rows = compare_variants(finished)
    costs = [variant_costs(variant, run_folder(out, variant, config.seeds[0])) for variant in finished]
    path = table_path(config, out)
    with disk_errors(out, "free disk space; the same command writes the table"):
        atomic_write_text(path, f"{_describe(config)}\n\n{table(rows)}")
        atomic_write_text(path.with_suffix(".json"), _json(rows))
        atomic_write_text(out / COSTS, costs_table(costs))
        atomic_write_text((out / COSTS).with_suffix(".json"), _json(costs))
    return rows


def write_calls(config: Ablation, out: Path) -> None:
    """Measures what a call of each variant costs, all of whom are trained, and writes the table of it."""
    costs = call_costs(
        {name: checkpoint_folder(run_folder(out, name, config.seeds[0])) for name in config.variants}, config
    )
    with disk_errors(out, "free disk space; the same command writes the table"):
        atomic_write_text(out / CALLS, calls_table(costs))
        atomic_write_text((out / CALLS).with_suffix(".json"), _json(costs))


def _json(rows: Sequence[Record]) -> str:
    return json.dumps([row.model_dump() for row in rows], indent=2) + "\n"


def _describe(config: Ablation) -> str:
    seeds = config.evaluation("", 1).seeds
    purpose = {
        "validation": "to choose among variants; `split=evaluation` gives the final figures of a choice",
        "evaluation": "for final figures: nothing may be chosen by them",
    }[config.split]
    return f"{config.split.capitalize()} seeds {seeds[0]} to {seeds[-1]} of each task and setting, {purpose}."
