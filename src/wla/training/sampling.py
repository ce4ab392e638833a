"""Sampling of training batches; a batch depends on its generator alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int64

from wla.batch import Batch, Latents, TargetRows
from wla.data.loader import WindowSampler
from wla.runtime import upload


def numpy_rng(generator: torch.Generator) -> np.random.Generator:
    """Returns a NumPy generator seeded with the next number of a torch generator."""
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))


def sample_batch(sampler: WindowSampler, size: int, generator: torch.Generator) -> Batch:
    """Returns a batch of `size` windows that depends on the generator alone."""
    return sampler.sample_batch(size, numpy_rng(generator))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Returns a batch on the host with all its tensors on `device`, and where it has targets."""
    rows = batch.target_rows()
    return Batch(
        tokens=upload(batch.tokens, device),
        attention_mask=upload(batch.attention_mask, device),
        labels=upload(batch.labels, device),
        images={name: upload(image, device) for name, image in batch.images.items()},
        state=upload(batch.state, device),
        actions=upload(batch.actions, device),
        action_mask=upload(batch.action_mask, device),
        subgoal=None if batch.subgoal is None else upload(batch.subgoal, device),
        subgoal_mask=upload(batch.subgoal_mask, device),
        action_dims=None if batch.action_dims is None else upload(batch.action_dims, device),
        latents=_latents_to_device(batch.latents, device),
        ids=batch.ids,
        rows=TargetRows(upload(rows.text, device), upload(rows.actions, device), upload(rows.subgoal, device)),
    )


def _latents_to_device(latents: Latents | None, device: torch.device) -> Latents | None:
    return None if latents is None else Latents(upload(latents.current, device), upload(latents.subgoal, device))


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
