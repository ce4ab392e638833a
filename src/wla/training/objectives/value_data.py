"""Frames of rollouts with their discounted returns, to train a value model on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from wla.data.transforms import jitter
from wla.data.value_targets import ValueTargetFrames
from wla.models.value_model import discounted_return
from wla.policy.value_checkpoint import ValueCheckpoint
from wla.training.datasets import open_datasets
from wla.training.sampling import numpy_rng, sample_frames
from wla.types import FrameContext

MAX_SHIFT_PIXELS, MAX_BRIGHTNESS_CHANGE = 3, 0.15
"""Random shift of the images in pixels, and random change of brightness, against memorised rollouts."""


class ValueBatch(NamedTuple):
    """Frames, the tokens of their contexts, their discounted returns, and their names."""

    tokens: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    times: Int64[Tensor, "B 2"]
    images: UInt8[Tensor, "B H W 3"]
    values: Float[Tensor, " B"]
    names: list[str]


class ValueData:
    """Samples batches of the frames of all datasets, uniformly, for one value model."""

    def __init__(self, value: ValueCheckpoint, datasets: Sequence[str]) -> None:
        """ValueError when a dataset does not tell which episodes succeeded."""
        self._value = value
        self._side = value.config.model.backbone.cameras[value.image]
        self._frames = [ValueTargetFrames(each, value.camera, self._side) for each in open_datasets(datasets)]

    def sample_batch(self, samples: int, generator: torch.Generator) -> ValueBatch:
        """A batch that follows from the generator alone."""
        rng = numpy_rng(generator)
        names: list[str] = []
        moments: list[FrameContext] = []
        images, success, left = [], [], []
        for number, rows in sample_frames([len(frames) for frames in self._frames], samples, rng):
            frames = self._frames[number]
            names += [frames.dataset.frame_id(int(row)) for row in rows]
            moments += frames.frame_contexts(rows)
            images.append(torch.from_numpy(np.asarray(frames.images[rows])))
            success.append(frames.success[rows])
            left.append(frames.steps_to_go[rows])
        tokens, mask, times = self._value.model_inputs(moments)
        seen = jitter(torch.cat(images), rng, max_shift=MAX_SHIFT_PIXELS, brightness=MAX_BRIGHTNESS_CHANGE)
        reached = torch.from_numpy(np.concatenate(success))
        values = discounted_return(reached, torch.from_numpy(np.concatenate(left)), self._value.config.model.discount)
        return ValueBatch(tokens, mask, times, seen, values, names)
