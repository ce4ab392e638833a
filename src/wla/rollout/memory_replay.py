"""What a policy would remember at each frame of recorded episodes, if it acted there: its words, its own errors."""

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
"""Episodes that go on side by side."""


def record_memory(config: RecordMemoryConfig) -> MemoryReplay:
    """Let the policy act on the recorded frames, as often as it would, and write down what it was told at each call.

    ValueError when the dataset is of another robot, or the policy says nothing.
    """
    policy = load_policy(config.policy, device=config.device)
    dataset = LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: does not say which robot it is of (meta/wla_robot.json is missing)")
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {config.policy}", theirs=str(config.dataset))
    if not policy.predicts_subtasks:
        raise ValueError(f"policy {config.policy} says nothing, so it has no memory to recall")
    rows: list[tuple[int, PolicyState]] = []
    for start in track(range(0, len(dataset.episodes), BATCH), description="acting on recordings"):
        rows += _episodes(policy, dataset, dataset.episodes[start : start + BATCH])
    recalled = MemoryReplay(
        frames=np.array([frame for frame, _ in rows], np.int64),
        memories=[tuple(item.text for item in state.memory) for _, state in rows],
        subtasks=[state.subtasks for _, state in rows],
    )
    with disk_errors(config.out, "free disk space or choose another --out"):
        recalled.save(config.out)
    return recalled


def _episodes(policy: WLAPolicy, dataset: LeRobotDataset, episodes: Sequence[Episode]) -> list[tuple[int, PolicyState]]:
    """The frames at which the policy acts, in order, with its state before each call."""
    replan_steps = policy.replan_steps or policy.chunk_size
    states = [policy.reset(episode.instruction) for episode in episodes]
    told: list[tuple[int, PolicyState]] = []
    for step in range(max(map(len, episodes))):
        going = [index for index, episode in enumerate(episodes) if step < len(episode)]
        seen = [recorded_observation(dataset, episodes[index].start + step) for index in going]
        if step % replan_steps:
            after = [policy.observe(image, states[index]) for image, index in zip(seen, going, strict=True)]
        else:
            told += [(episodes[index].start + step, states[index]) for index in going]
            after = [state for _, state in policy.act_batch(seen, [states[index] for index in going])]
        for index, state in zip(going, after, strict=True):
            states[index] = state
    return sorted(told, key=lambda row: row[0])


def recorded_observation(dataset: LeRobotDataset, frame: int) -> Observation:
    """What the robot saw and felt at a frame."""
    return Observation({camera: dataset.frames(camera)[frame] for camera in dataset.cameras}, dataset.state[frame])


def recorded_state(policy: WLAPolicy, dataset: LeRobotDataset, frame: int) -> PolicyState:
    """The state at a frame of a policy that said all that the recording says, and spoke last as long ago as it does in
    acting. Its seed is the frame. Without subtasks in the dataset nothing was said."""
    episode = dataset.episode_of(frame)
    state = policy.reset(episode.instruction, seed=frame)
    chunk = policy.chunk_size
    spoke = frame - (policy.replan_steps or chunk)
    if spoke < episode.start or dataset.subtasks is None:
        return state
    over = subtask_window(dataset.subtasks, episode.start, spoke)[:-1]
    window = subtask_window(dataset.subtasks, spoke, min(spoke + chunk, episode.end - 1))
    texts = dataset.subtask_texts
    return policy.with_memory(state, [texts[index] for index in over], [texts[index] for index in window])
