"""Weight of a micro-batch's loss terms: a step's terms are means over all its targets, not means of means.

A term of a micro-batch is the mean over its own targets. Where datasets without actions or subtasks are mixed in, or
chunks end with their episodes, micro-batches have more or fewer of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from wla.batch import Batch
from wla.data.loader import WindowSampler
from wla.training.configs import LoopConfig
from wla.training.sampling import numpy_rng
from wla.training.step import micro_batch_seed


class LossNormalizer:
    """Called with each micro-batch of a step; the step's others are sampled again, without images, to count them.

    Every process counts all of them, so nothing has to be communicated. loss_counts: see `PolicyModel`.
    """

    def __init__(
        self, sampler: WindowSampler, loop: LoopConfig, loss_counts: Callable[[Batch], Mapping[str, int]]
    ) -> None:
        self._sampler, self._loop, self._loss_counts = sampler, loop, loss_counts
        self._step, self._means = -1, dict[str, float]()

    def __call__(self, step: int, batch: Batch) -> dict[str, float]:
        """Loss term -> targets of the batch over the mean number of targets in the step's micro-batches."""
        counts = self._loss_counts(batch)
        if self._loop.micro_batches == 1:
            return dict.fromkeys(counts, 1.0)
        if step != self._step:
            self._step, self._means = step, self._count(step)
        return {name: count / (self._means[name] or 1.0) for name, count in counts.items()}

    def _count(self, step: int) -> dict[str, float]:
        number = self._loop.micro_batches
        found = []
        for index in range(number):
            generator = torch.Generator().manual_seed(micro_batch_seed(self._loop, step, index))
            size = self._loop.batch_size // number
            found.append(self._loss_counts(self._sampler.sample_batch(size, numpy_rng(generator), images=False)))
        return {name: sum(counts[name] for counts in found) / number for name in found[0]}
