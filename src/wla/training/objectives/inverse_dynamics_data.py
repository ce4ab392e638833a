"""Frames of a robot's episodes with their actions, to train and evaluate inverse dynamics on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.transforms import paste_distractors
from wla.policy.inverse_checkpoint import InverseCheckpoint
from wla.training.sampling import numpy_rng, sample_frames

HOLDOUT_EVERY = 20
"""One in this number of episodes is held out for evaluation."""
MAX_EVAL_FRAMES = 2048
"""Limit of frames for evaluation."""
NUM_DISTRACTORS, MAX_DISTRACTOR_SIZE = 6, 0.25
"""Number and size of still patches that are pasted over the frames: videos show objects that the recorded episodes
never did, and a dark plate is not the dark hand."""


class InverseBatch(NamedTuple):
    """Frames: the images around each, the actions (B, A) in environment units, and their names."""

    images: dict[str, Tensor]
    actions: np.ndarray
    names: list[str]


class InverseData:
    """Samples frames of the datasets at which the recorded action was executed; some episodes are held out."""

    def __init__(self, datasets: Sequence[LeRobotDataset], inverse: InverseCheckpoint) -> None:
        """ValueError where nothing is left to train or evaluate on."""
        self._datasets, self._inverse = datasets, inverse
        parts = [_split_frames(dataset) for dataset in datasets]
        self._train_frames, self._heldout_frames = zip(*parts, strict=True)

    def sample_batch(self, samples: int, generator: torch.Generator) -> InverseBatch:
        """A batch with distractors that follows from the generator alone."""
        rng = numpy_rng(generator)
        batch = self._load_batch(self._train_frames, samples, rng)
        distracted = {
            name: paste_distractors(image, rng, patches=NUM_DISTRACTORS, max_size=MAX_DISTRACTOR_SIZE)
            for name, image in batch.images.items()
        }
        return batch._replace(images=distracted)

    def heldout_batch(self) -> InverseBatch:
        """The same frames of held-out episodes each time."""
        return self._load_batch(self._heldout_frames, MAX_EVAL_FRAMES, np.random.default_rng(0))

    def _load_batch(self, frames: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> InverseBatch:
        """`count` of these frames of the datasets."""
        views, actions, names = [], [], []
        for number, positions in sample_frames([len(some) for some in frames], count, rng):
            dataset, rows = self._datasets[number], frames[number][positions]
            views.append(self._inverse.load_images(dataset, rows))
            assert dataset.actions is not None
            actions.append(dataset.actions[rows])
            names += [dataset.frame_id(int(row)) for row in rows]
        images = {name: torch.cat([view[name] for view in views]) for name in views[0]}
        return InverseBatch(images, np.concatenate(actions), names)


def _split_frames(dataset: LeRobotDataset) -> tuple[np.ndarray, np.ndarray]:
    """Frames for training and for evaluation; none whose recorded action was not executed.

    ValueError for a dataset of one episode, and where nothing is left.
    """
    if len(dataset.episodes) < 2:
        raise ValueError(f"{dataset.root}: has one episode; one for training and one for evaluation are needed")
    held = np.zeros(len(dataset), bool)
    for episode in dataset.episodes[::-HOLDOUT_EVERY]:
        held[episode.start : episode.end] = True
    done = dataset.action_executed
    learned, measured = np.flatnonzero(done & ~held), np.flatnonzero(done & held)
    if not (learned.size and measured.size):
        raise ValueError(f"{dataset.root}: too few recorded actions were executed; use episodes of one who acted alone")
    return learned, measured
