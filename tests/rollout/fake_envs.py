"""Environments for processes of their own: modules that these can import."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import numpy as np
from fakes import LineEnv, Walker

from wla.types import ActionChunk


class Troubled(LineEnv):
    """Hangs in seed 3, takes its process down in seed 5; as `LineEnv` otherwise."""

    def step(self, action):
        if self.seed == 3:
            time.sleep(600)
        if self.seed == 5:
            os._exit(3)
        return super().step(action)


class LongFirst(LineEnv):
    """Seed 0 takes 100 steps, far more than all others."""

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.seed == 0:
            terminated = truncated = self.steps >= 100
        return observation, reward, terminated, truncated, info


class Counting(Walker):
    """Takes many calls into one batch, whose sizes it notes; its state counts the steps that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def act(self, observation, state, **options):
        return self.act_batch([observation], [state], **options)[0]

    def act_batch(self, observations, states, **options):
        self.batches.append(len(observations))
        if any(state.seed == 4 for state in states):
            raise RuntimeError("no answer for seed 4")
        rows = []
        for observation, state in zip(observations, states, strict=True):
            chunk, _ = super().act(observation, state, imagine=options.get("imagine", False))
            noise = np.random.default_rng((state.seed, state.env_step)).uniform(0.9, 1, chunk.actions.shape)
            chunk = replace(chunk, actions=(chunk.actions * noise).astype(np.float32))
            rows.append((chunk, replace(state, env_step=state.env_step + 1)))
        return rows

    def observe(self, observation, state):
        return replace(state, env_step=state.env_step + 1)


class Stubborn(Walker):
    """Answers that do not fit the robot."""

    def act(self, observation, state, **options):
        return ActionChunk(np.zeros((1, 7), np.float32)), state


def build(variant, shared):
    return LineEnv(), shared or Walker()


def build_troubled(variant, shared):
    return Troubled(), shared or Walker()


def build_long_first(variant, shared):
    return LongFirst(), shared or Walker()


def build_and_refuse(variant, shared):
    raise ValueError("no such environment")


def build_other_robot(variant, shared):
    from fakes import spec

    return LineEnv(spec("swimmer")), shared
