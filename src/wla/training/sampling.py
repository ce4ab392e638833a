"""Sampling of training batches; a batch depends on its generator alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from wla.batch import Batch
from wla.data.loader import WindowSampler


def numpy_rng(generator: torch.Generator) -> np.random.Generator:
    """Returns a NumPy generator seeded with the next number of a torch generator."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def sample_batch(sampler: WindowSampler, size: int, generator: torch.Generator) -> Batch:
    """Returns a batch of `size` windows that depends on the generator alone."""
    return sampler.sample_batch(size, numpy_rng(generator))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Returns the batch with all its tensors on `device`."""
    return Batch(
        tokens=batch.tokens.to(device),
        attention_mask=batch.attention_mask.to(device),
        labels=batch.labels.to(device),
        images={name: image.to(device) for name, image in batch.images.items()},
        state=batch.state.to(device),
        actions=batch.actions.to(device),
        action_mask=batch.action_mask.to(device),
        subgoal=None if batch.subgoal is None else batch.subgoal.to(device),
        subgoal_mask=batch.subgoal_mask.to(device),
        action_dims=None if batch.action_dims is None else batch.action_dims.to(device),
        ids=batch.ids,
    )


def sample_frames(
    lengths: Sequence[int], size: int, rng: np.random.Generator
) -> list[tuple[int, Int64[np.ndarray, " _"]]]:
    """Returns `size` frames sampled uniformly over the frames of several datasets of the given lengths.

    One item per dataset with sampled frames: the dataset's index and its frame indices in ascending order.
    """
    ends = np.cumsum(lengths)
    frames = np.sort(rng.integers(int(ends[-1]), size=size))
    datasets = np.searchsorted(ends, frames, side="right")
    return [(int(index), frames[datasets == index] - (ends[index] - lengths[index])) for index in np.unique(datasets)]
