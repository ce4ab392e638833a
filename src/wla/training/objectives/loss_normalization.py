"""What a micro-batch counts for: a step's loss terms are means over all its samples that have them, not means of means.

A term of a micro-batch is the mean over those of its samples that have it. Where datasets without actions or words are
mixed in, or chunks end with their episodes, micro-batches have more or less of each.
"""

from __future__ import annotations

import torch

from wla.batch import Batch
from wla.data.loader import WindowSampler
from wla.training.sampling import numpy_rng
from wla.training.trainer import LoopConfig, micro_batch_seed
from wla.types import IGNORE_INDEX


class LossNormalizer:
    """Called with each micro-batch of a step; the step's other ones are drawn again without their images to count them.

    Every process counts all of them, so they need not tell each other.
    """

    def __init__(self, sampler: WindowSampler, loop: LoopConfig) -> None:
        self._sampler, self._loop = sampler, loop
        self._step, self._means = -1, dict[str, float]()

    def __call__(self, step: int, batch: Batch) -> dict[str, float]:
        """Term -> how many targets of it the batch has, over the mean of the step's micro-batches."""
        if self._loop.micro_batches == 1:
            return dict.fromkeys(loss_counts(batch), 1.0)
        if step != self._step:
            self._step, self._means = step, self._count(step)
        return {name: count / (self._means[name] or 1.0) for name, count in loss_counts(batch).items()}

    def _count(self, step: int) -> dict[str, float]:
        number = self._loop.micro_batches
        found = []
        for index in range(number):
            generator = torch.Generator().manual_seed(micro_batch_seed(self._loop, step, index))
            size = self._loop.batch_size // number
            found.append(loss_counts(self._sampler.sample_batch(size, numpy_rng(generator), images=False)))
        return {name: sum(counts[name] for counts in found) / number for name in found[0]}


def loss_counts(batch: Batch) -> dict[str, float]:
    """How many numbers, images and words of a batch are learned."""
    return {
        "action": float(batch.action_mask.sum()),
        "world": float(batch.subgoal_mask.sum()),
        "language": float((batch.labels != IGNORE_INDEX).sum()),
    }
