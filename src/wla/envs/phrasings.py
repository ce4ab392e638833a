"""Instruction templates of a task. Evaluation episodes use templates that never occur in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wla.envs.seeds import is_evaluation


@dataclass(frozen=True)
class Phrasings:
    """Instruction templates with {fields}, for training and for test.

    Attributes:
        train: templates for training and validation episodes.
        test: templates for evaluation episodes; each of their words occurs in a training template.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]

    def choose(self, rng: np.random.Generator, seed: int | None, values: Mapping[str, str]) -> str:
        """Samples an instruction.

        Args:
            rng: random generator of the episode.
            seed: reset seed; evaluation seeds select the test templates, all others and None the training ones.
            values: values of the fields.
        """
        templates = self.test if is_evaluation(seed) else self.train
        return templates[int(rng.integers(len(templates)))].format(**values)
