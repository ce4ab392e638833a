"""Files of an ablation's folder: its configuration, the table of success, and what each variant costs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from wla.config import Record
from wla.evaluation.comparison import VariantResult, compare_variants, table
from wla.files import atomic_write_text, disk_errors
from wla.models.parameter_counts import parameter_counts
from wla.policy.checkpoint import load_checkpoint
from wla.rollout.results import EpisodeResult
from wla.run_folder import checkpoint_folder
from wla.training.ablation_config import Ablation, folder_name
from wla.training.configs import LoopConfig
from wla.training.metrics import METRICS, read_metrics
from wla.training.saving import LOOP

CONFIG = "config.json"
"""File of an ablation's folder with its configuration."""
COSTS = "costs.md"


class VariantCosts(Record):
    """What a variant costs. acting, dropped, frozen: parameters, see `ParameterCounts`. training_tflop: model FLOPs of
    a training run, 10^12, on each device. training_minutes: at the run's rate."""

    variant: str
    acting: int
    dropped: int
    frozen: int
    training_tflop: float
    training_minutes: float


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


def variant_costs(variant: str, run: Path) -> VariantCosts:
    """Returns the costs of a variant, from one of its training runs."""
    checkpoint = load_checkpoint(checkpoint_folder(run))
    last = [row for row in read_metrics(run / METRICS) if "samples_per_s" in row][-1]
    samples = checkpoint.config.trained_steps * LoopConfig.load(run / LOOP).batch_size
    seconds = samples / last["samples_per_s"]
    return VariantCosts(
        variant=variant,
        **parameter_counts(checkpoint.model)._asdict(),
        training_tflop=last.get("model_tflop_per_s", 0.0) * seconds,
        training_minutes=round(seconds / 60, 1),
    )


def costs_table(costs: Sequence[VariantCosts]) -> str:
    """Returns the costs as a Markdown table, parameters and FLOPs also relative to the first variant."""
    first = costs[0]
    header = ["variant", "parameters that act", "against the first", "dropped", "frozen"]
    header += ["training, TFLOP", "against the first", "training, minutes"]
    rows = [header, ["---"] * len(header)]
    for each in costs:
        flops = each.training_tflop / first.training_tflop if first.training_tflop else float("nan")
        name, acting = each.variant.replace("|", "\\|"), f"{each.acting / first.acting:.3f}"
        parameters = [f"{each.acting:,}", acting, f"{each.dropped:,}", f"{each.frozen:,}"]
        rows.append([name, *parameters, f"{each.training_tflop:.1f}", f"{flops:.2f}", f"{each.training_minutes:.1f}"])
    notes = (
        "Act: parameters that acting computes with. Dropped: those that only training or the prediction of images "
        "needs. Frozen: those of the image codec. FLOPs: matrix products, convolutions and attention of the forward "
        "and backward passes of a run, as its first step needs them. Minutes: at the rate of the first seed's run."
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", notes]) + "\n"


def _json(rows: Sequence[Record]) -> str:
    return json.dumps([row.model_dump() for row in rows], indent=2) + "\n"


def _describe(config: Ablation) -> str:
    seeds = config.evaluation("", 1).seeds
    purpose = {
        "validation": "to choose among variants; `split=evaluation` gives the final figures of a choice",
        "evaluation": "for final figures: nothing may be chosen by them",
    }[config.split]
    return f"{config.split.capitalize()} seeds {seeds[0]} to {seeds[-1]} of each task and setting, {purpose}."
