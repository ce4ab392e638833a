"""A policy's memory at each frame of recorded episodes at which it would act, its own errors included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.data.memory_replay import MemoryReplay
from wla.data.windows import subtask_window
from wla.files import disk_errors
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.progress import track
from wla.rollout.configs import RecordMemoryConfig
from wla.types import Observation, PolicyState

BATCH = 64
"""Episodes that run side by side."""


def record_memory(config: RecordMemoryConfig) -> MemoryReplay:
    """Let the policy act on the recorded frames, as often as it would, and store its memory before each call.

    ValueError when the dataset is of another robot, or the policy predicts no subtasks.
    """
    policy = load_policy(config.policy, device=config.device)
    dataset = LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: its robot is unknown (meta/wla_robot.json is missing)")
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {config.policy}", theirs=str(config.dataset))
    if not policy.predicts_subtasks:
        raise ValueError(f"policy {config.policy} predicts no subtasks, so it has no memory to record")
    rows: list[tuple[int, PolicyState]] = []
    for start in track(range(0, len(dataset.episodes), BATCH), description="acting on recordings"):
        rows += _episodes(policy, dataset, dataset.episodes[start : start + BATCH])
    replay = MemoryReplay(
        frames=np.array([frame for frame, _ in rows], np.int64),
        memories=[tuple(item.text for item in state.memory) for _, state in rows],
        subtasks=[state.subtasks for _, state in rows],
    )
    with disk_errors(config.out, "free disk space or choose another --out"):
        replay.save(config.out)
    return replay


def _episodes(policy: WLAPolicy, dataset: LeRobotDataset, episodes: Sequence[Episode]) -> list[tuple[int, PolicyState]]:
    """The frames at which the policy acts, in order, with its state before each call."""
    replan_steps = policy.replan_steps or policy.chunk_size
    states = [policy.reset(episode.instruction) for episode in episodes]
    replayed: list[tuple[int, PolicyState]] = []
    for step in range(max(map(len, episodes))):
        going = [index for index, episode in enumerate(episodes) if step < len(episode)]
        seen = [recorded_observation(dataset, episodes[index].start + step) for index in going]
        if step % replan_steps:
            after = [policy.observe(image, states[index]) for image, index in zip(seen, going, strict=True)]
        else:
            replayed += [(episodes[index].start + step, states[index]) for index in going]
            after = [state for _, state in policy.act_batch(seen, [states[index] for index in going])]
        for index, state in zip(going, after, strict=True):
            states[index] = state
    return sorted(replayed, key=lambda row: row[0])


def recorded_observation(dataset: LeRobotDataset, frame: int) -> Observation:
    """The images and state of a frame."""
    return Observation({camera: dataset.frames(camera)[frame] for camera in dataset.cameras}, dataset.state[frame])


def recorded_state(policy: WLAPolicy, dataset: LeRobotDataset, frame: int) -> PolicyState:
    """The state at a frame of a policy that predicted exactly the recorded subtasks, with its last call as many steps
    ago as in acting. Its seed is the frame. Without subtasks in the dataset its memory and window are empty."""
    episode = dataset.episode_of(frame)
    state = policy.reset(episode.instruction, seed=frame)
    chunk = policy.chunk_size
    last_call = frame - (policy.replan_steps or chunk)
    if last_call < episode.start or dataset.subtasks is None:
        return state
    finished = subtask_window(dataset.subtasks, episode.start, last_call)[:-1]
    window = subtask_window(dataset.subtasks, last_call, min(last_call + chunk, episode.end - 1))
    texts = dataset.subtask_texts
    return policy.with_memory(state, [texts[index] for index in finished], [texts[index] for index in window])
