"""What each variant of an ablation costs: parameters, and FLOPs and time of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wla.config import Record
from wla.models.parameter_counts import parameter_counts
from wla.policy.checkpoint import load_checkpoint
from wla.run_folder import checkpoint_folder
from wla.training.configs import LoopConfig
from wla.training.metrics import METRICS, read_metrics
from wla.training.saving import LOOP


class VariantCosts(Record):
    """What a variant costs. acting, dropped, frozen: parameters, see `ParameterCounts`. training_tflop: model FLOPs of
    a training run, 10^12, on each device. training_minutes: at the run's rate."""

    variant: str
    acting: int
    dropped: int
    frozen: int
    training_tflop: float
    training_minutes: float


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
