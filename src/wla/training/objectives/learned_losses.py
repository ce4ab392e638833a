"""Report, before training starts, on which losses of a policy have data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wla.data.loader import WindowSampler
from wla.models.model import PolicyModel

_MAX_NAMED = 3
"""Datasets without data that a line names."""
_TEXT_HINT = "; the policy generates no subtasks"


def describe_losses(sampler: WindowSampler, model: PolicyModel[Any], minimised: Sequence[str]) -> str:
    """Returns a line for each loss term: how many windows of how many datasets have data for it.

    minimised: terms that are trained. ValueError when none of them has data.
    """
    counts, weights = sampler.num_targets(), dict(model.config.loss_weights)
    total, lines, found = sum(counts["windows"]), [], False
    for term, target in model.loss_targets.items():
        having = counts[target]
        found |= term in minimised and any(having)
        absent = [str(each.root) for each, number in zip(sampler.datasets, having, strict=True) if not number]
        role = f"weight {weights[term]:g}" if term in minimised else "not trained"
        if len(absent) == len(having):
            lines.append(f"loss {term} ({role}): no data, nothing is learned for it{_TEXT_HINT * (target == 'text')}")
            continue
        names = f" (none in {', '.join(absent[:_MAX_NAMED])}{' ...' * (len(absent) > _MAX_NAMED)})" if absent else ""
        lines.append(
            f"loss {term} ({role}): {sum(having)} of {total} windows, "
            f"{len(having) - len(absent)} of {len(having)} datasets{names}"
        )
    if not found:
        raise ValueError(f"datasets: nothing to learn from ({'; '.join(lines)}); name datasets that have it")
    return "\n".join(lines)
