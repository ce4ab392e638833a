"""Every loss term in every micro-batch: processes that share a model's weights must go the same way through it.

A model leaves out the parts that no sample of a batch teaches. FSDP gathers the weights of a part when it is run, and
all processes must take part: if one left out the World Expert and another did not, both would wait forever.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from wla.batch import Batch
from wla.models.losses import Losses
from wla.models.wla import WLA
from wla.types import IGNORE_INDEX


def all_losses(model: WLA, batch: Batch, generator: torch.Generator, *, num_micro_batches: int) -> Losses:
    """The model's losses; a term that no sample of the batch has is computed on a stand-in, and counts zero times.

    num_micro_batches: how many micro-batches the step has. A single one belongs to a single process, which needs no stand-ins.
    """
    if num_micro_batches == 1:
        return model(batch, generator)
    complete, absent = with_dummy_targets(batch)
    losses = model(complete, generator)
    return replace(losses, **{name: 0 * getattr(losses, name) for name in absent})


def with_dummy_targets(batch: Batch) -> tuple[Batch, list[str]]:
    """The batch, its first sample standing in for each kind of target that no sample has; and the terms concerned."""
    changes: dict[str, Any] = {}
    absent = []
    for term, name in (("action", "action_mask"), ("world", "subgoal_mask")):
        mask = getattr(batch, name)
        if not mask.any():
            changes[name] = mask.clone()
            changes[name][0] = True
            absent.append(term)
    if (batch.labels == IGNORE_INDEX).all():
        changes["labels"] = batch.labels.clone()
        changes["labels"][0, -1] = batch.tokens[0, -1]
        absent.append("language")
    return replace(batch, **changes), absent
