"""Recorded episodes replayed through a policy: it observes every frame and is called as often as when it acts.

Its prompts are those of acting on these observations: images of earlier steps come from the recording, memory and the
subtasks predicted last from its own calls. The recording continues whatever the policy does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

import numpy as np

from wla.data.lerobot.columns import Columns, own_robot
from wla.data.lerobot.format import read_info
from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.policy.baselines import RandomPolicy, ZeroPolicy
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.progress import track
from wla.types import ActionChunk, Observation, Policy, State


@dataclass(frozen=True)
class RecordedCall(Generic[State]):
    """A frame at which the policy is called. state: the policy's, before the call."""

    frame: int
    observation: Observation
    state: State


Answer = Callable[[Sequence[RecordedCall[State]]], Sequence[tuple[int, State]]]
"""Returns for each call the number of control steps until the next one, and the policy's state after the call."""


def load_with_dataset(
    name: str, root: Path, *, imagination: bool = False, device: str | None = None, robot: str | None = None
) -> tuple[WLAPolicy, LeRobotDataset]:
    """A checkpoint and a dataset of the same robot. A dataset that does not state its robot is read as the policy's,
    in the columns that it was trained on. robot: name of one of the policy's, where it is for several and the dataset
    states none.

    ValueError when the dataset is of a different robot.
    """
    policy = load_policy(name, imagination=imagination, device=device, robot=robot or own_robot(root))
    info = read_info(root)
    known = () if policy.training_data is None else policy.training_data.columns
    columns = next((each for each in known if each.fits(info)), Columns())
    dataset = LeRobotDataset(root, columns=columns)
    if dataset.robot_spec is None:
        return policy, LeRobotDataset(root, columns=columns, robot=policy.robot_spec)
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {name}", theirs=str(root))
    return policy, dataset


def load_baseline(name: str, root: Path) -> tuple[Policy[Any], LeRobotDataset] | None:
    """The random or zero policy of a dataset's robot, with the dataset; None for other names.

    ValueError for the expert, which needs a simulator, and for a dataset that does not state its robot.
    """
    kinds = {"random": RandomPolicy, "zero": ZeroPolicy}
    if name == "expert":
        raise ValueError("the expert acts in a simulator, not on recordings; name a checkpoint, random or zero")
    if name not in kinds:
        return None
    dataset = LeRobotDataset(root)
    if dataset.robot_spec is None:
        raise ValueError(f"{root}: does not state its robot, whose limits the policy {name} needs; name a checkpoint")
    return kinds[name](dataset.robot_spec), dataset


def replay_episodes(
    policy: Policy[State],
    dataset: LeRobotDataset,
    episodes: Sequence[Episode],
    answer: Answer[State],
    *,
    batch_size: int,
    description: str,
) -> None:
    """Replays episodes of a dataset, `batch_size` of them side by side, whose calls of a step are answered together.

    The policy's noise follows from the episode's seed (its index where it has none). ValueError names an episode whose
    instruction the policy refuses.
    """
    for start in track(range(0, len(episodes), batch_size), description=description):
        _replay(policy, dataset, episodes[start : start + batch_size], answer)


def recorded_observation(dataset: LeRobotDataset, frame: int, cameras: Sequence[str]) -> Observation:
    """The images of these cameras and the state of a frame."""
    images = {camera: dataset.random_access_frames(camera)[np.array([frame])][0] for camera in cameras}
    return Observation(images, dataset.state[frame])


def steps_until_next_call(chunk: ActionChunk) -> int:
    """How many actions of the chunk are executed before the policy is called again."""
    return min(len(chunk.actions), chunk.replan_steps or len(chunk.actions))


def _replay(policy: Policy[State], dataset: LeRobotDataset, episodes: Sequence[Episode], answer: Answer[State]) -> None:
    cameras = list(policy.robot_spec.observation.cameras)
    states = [_reset(policy, dataset, episode) for episode in episodes]
    next_call = [0] * len(episodes)
    for step in range(max(map(len, episodes))):
        calls: dict[int, RecordedCall[State]] = {}
        for index, episode in enumerate(episodes):
            if step >= len(episode):
                continue
            observation = recorded_observation(dataset, episode.start + step, cameras)
            if step == next_call[index]:
                calls[index] = RecordedCall(episode.start + step, observation, states[index])
            else:
                states[index] = policy.observe(observation, states[index])
        if calls:
            for index, (steps, state) in zip(calls, answer(list(calls.values())), strict=True):
                states[index], next_call[index] = state, step + steps


def _reset(policy: Policy[State], dataset: LeRobotDataset, episode: Episode) -> State:
    try:
        return policy.reset(episode.instruction, seed=episode.index if episode.seed is None else episode.seed)
    except ValueError as error:
        raise ValueError(f"{dataset.root} episode {episode.index}: {error}") from error
