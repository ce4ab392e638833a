"""Turning a task into words. Evaluation episodes use phrasings that training never shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from wla.envs.seeds import is_evaluation


@dataclass(frozen=True)
class Phrasings:
    """Templates with {fields}. The unseen ones are made of words that occur in the seen ones."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    def choose(self, rng: np.random.Generator, seed: int | None, values: Mapping[str, str]) -> str:
        """An instruction for an episode of this seed, with `values` filled in."""
        templates = self.test if is_evaluation(seed) else self.train
        return templates[int(rng.integers(len(templates)))].format(**values)
