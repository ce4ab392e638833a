from __future__ import annotations

import torch

from wla.training.configs import LoopConfig, OptimConfig
from wla.training.sampling import numpy_rng
from wla.training.step import micro_batch_seed


def test_every_step_and_micro_batch_has_a_seed_of_its_own():
    loops = [LoopConfig(optim=OptimConfig(steps=10), seed=seed) for seed in (0, 1)]
    seeds = [micro_batch_seed(loop, step, number) for loop in loops for step in range(10) for number in range(4)]
    assert len(set(seeds)) == len(seeds)
    assert seeds == [
        micro_batch_seed(loop, step, number) for loop in loops for step in range(10) for number in range(4)
    ]


def test_the_samples_of_a_batch_follow_from_its_generator_alone():
    first, second, other = (numpy_rng(torch.Generator().manual_seed(seed)).random() for seed in (5, 5, 6))
    assert first == second
    assert first != other
