"""A step's batches: what is drawn follows from its generator alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from wla.batch import Batch
from wla.data.loader import WindowSampler


def numpy_rng(generator: torch.Generator) -> np.random.Generator:
    """The random numbers of a batch, from the first number of its generator."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def sample_batch(sampler: WindowSampler, size: int, generator: torch.Generator) -> Batch:
    """A batch that depends on the generator alone."""
    return sampler.sample_batch(size, numpy_rng(generator))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with all its tensors on `device`."""
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
        ids=batch.ids,
    )


def sample_frames(
    lengths: Sequence[int], size: int, rng: np.random.Generator
) -> list[tuple[int, Int64[np.ndarray, " _"]]]:
    """So many frames of several datasets, uniformly over all of them: of each that some are drawn from, its place in
    `lengths` and which frames, in order."""
    ends = np.cumsum(lengths)
    chosen = np.sort(rng.integers(int(ends[-1]), size=size))
    sources = np.searchsorted(ends, chosen, side="right")
    return [
        (int(number), chosen[sources == number] - (ends[number] - lengths[number])) for number in np.unique(sources)
    ]
