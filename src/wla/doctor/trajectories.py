"""Episodes to compare: recorded ones, the same ones replayed in an environment, and those of an expert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float32, UInt8

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.envs.perturb import PerturbedActions
from wla.types import Env, Observation, Policy

Images = dict[str, UInt8[np.ndarray, "_ _ 3"]]
Choose = Callable[[int, Observation], Float32[np.ndarray, " A"] | None]
"""The action of a step, from its number and observation; None ends the episode."""


@dataclass(frozen=True)
class Trajectory:
    """An episode of T actions. images: of its first step. states: (T, S), before each action. success: None where it is
    unknown. seed: of the environment; None where it was not recorded."""

    seed: int | None
    images: Images
    states: Float32[np.ndarray, "T S"]
    actions: Float32[np.ndarray, "T A"]
    success: bool | None


def run(env: Env, seed: int, choose: Choose, instruction_to: Callable[[str], None] = lambda _: None) -> Trajectory:
    """An episode of the environment. instruction_to: receives its instruction before the first step."""
    raw, info = env.reset(seed=seed)
    instruction_to(info["instruction"])
    images = {name: np.array(image) for name, image in raw["images"].items()}
    states: list[Float32[np.ndarray, " S"]] = []
    actions: list[Float32[np.ndarray, " A"]] = []
    success = False
    while (action := choose(len(actions), Observation(**raw))) is not None:
        states.append(raw["state"])
        actions.append(action)
        raw, _, terminated, truncated, info = env.step(action)
        success = bool(info["success"])
        if terminated or truncated:
            break
    if not actions:
        return Trajectory(seed, images, raw["state"][None], np.zeros((1, env.robot_spec.action.dim), np.float32), None)
    return Trajectory(seed, images, np.stack(states), np.stack(actions), success)


def run_policy(env: Env, policy: Policy, seed: int) -> Trajectory:
    """An episode in which the policy chooses each action anew."""
    carry = None

    def begin(instruction: str) -> None:
        nonlocal carry
        carry = policy.reset(instruction, seed=seed)

    def choose(_: int, observation: Observation) -> Float32[np.ndarray, " A"]:
        nonlocal carry
        chunk, carry = policy.act(observation, carry)
        return chunk.actions[0]

    return run(env, seed, choose, begin)


def recorded(dataset: LeRobotDataset, episode: Episode) -> Trajectory:
    """An episode of a dataset, up to its first action that was not executed. ValueError for one without actions."""
    if dataset.actions is None:
        raise ValueError(f"{dataset.root}: has no actions; an environment is compared by replaying them")
    length = len(episode)
    if episode.action_executed is not None:
        length = next((step for step, done in enumerate(episode.action_executed) if not done), length)
    frames = slice(episode.start, episode.start + max(length, 1))
    images = {}
    for camera in dataset.readable_cameras:
        images[camera] = dataset.random_access_frames(camera)[np.array([episode.start])][0]
    success = episode.success if length == len(episode) else None
    return Trajectory(episode.seed, images, dataset.state[frames], dataset.actions[frames], success)


def replay(env: Env, recordings: Sequence[Trajectory]) -> list[Trajectory]:
    """The recorded actions in the same episodes again, those that have a seed.

    An expert's recordings may have been disturbed while they were made (`PerturbedActions`), which the seed repeats: of
    each episode the way is taken that keeps nearer to the recorded states.
    """
    return [_nearest(env, each) for each in recordings if each.seed is not None]


def _nearest(env: Env, recording: Trajectory) -> Trajectory:
    plain = _repeat(env, recording)
    if _distance(plain, recording) == 0:
        return plain
    disturbed = _repeat(cast(Env, PerturbedActions(env)), recording)
    return min(plain, disturbed, key=lambda each: _distance(each, recording))


def _repeat(env: Env, recording: Trajectory) -> Trajectory:
    assert recording.seed is not None, "only what has a seed is repeated"

    def choose(step: int, _: Observation) -> Float32[np.ndarray, " A"] | None:
        return recording.actions[step] if step < len(recording.actions) else None

    return run(env, recording.seed, choose)


def _distance(one: Trajectory, other: Trajectory) -> float:
    steps = min(len(one.states), len(other.states))
    with suppress(ValueError):  # states of different sizes
        return float(np.abs(one.states[:steps] - other.states[:steps]).mean())
    return np.inf
