"""The episodes that updates and validations run, and their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wla.envs.registry import load_family
from wla.rollout.results import TaskVariant
from wla.rollout.runner import Job
from wla.training.rl.configs import RLTrainConfig


def group_jobs(config: RLTrainConfig, variants: Sequence[TaskVariant], update: int) -> list[Job]:
    """The episodes of an update, a group after the other: they follow from the recipe's seed and the update alone."""
    rng = np.random.default_rng([config.loop.seed, update])
    seeds = load_family(config.env).seeds["training"]
    jobs = []
    for group in range(update * config.groups, (update + 1) * config.groups):
        seed, noise = seeds[int(rng.integers(len(seeds)))], int(rng.integers(2**40))
        variant = variants[group % len(variants)]
        jobs += [Job(variant, seed, True, noise + member, images=False) for member in range(config.group_size)]
    return jobs


def validation_jobs(config: RLTrainConfig, variants: Sequence[TaskVariant]) -> list[Job]:
    """The episodes of a validation, the same each time."""
    seeds = load_family(config.env).seeds["validation"][: config.validation_episodes]
    return [Job(variant, seed, True, images=False) for variant in variants for seed in seeds]
