"""A policy's memory at each frame of recorded episodes at which it would act, its own errors included."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wla.data.memory_replay import MemoryReplay
from wla.files import disk_errors
from wla.rollout.configs import RecordMemoryConfig
from wla.rollout.recorded_episodes import (
    RecordedCall,
    load_with_dataset,
    replay_episodes,
    steps_until_next_call,
)
from wla.types import PolicyState

BATCH = 64
"""Episodes that run side by side."""


def record_memory(config: RecordMemoryConfig) -> MemoryReplay:
    """Let the policy act on the recorded frames, as often as it would, and store its memory before each call.

    ValueError when the dataset is of another robot, or the policy predicts no subtasks.
    """
    policy, dataset = load_with_dataset(config.policy, config.dataset, device=config.device, robot=config.robot)
    if not policy.predicts_subtasks:
        raise ValueError(f"policy {config.policy} predicts no subtasks, so it has no memory to record")
    rows: list[tuple[int, PolicyState]] = []

    def answer(calls: Sequence[RecordedCall[PolicyState]]) -> list[tuple[int, PolicyState]]:
        rows.extend((call.frame, call.state) for call in calls)
        answers = policy.act_batch([call.observation for call in calls], [call.state for call in calls])
        return [(steps_until_next_call(chunk), state) for chunk, state in answers]

    replay_episodes(policy, dataset, dataset.episodes, answer, batch_size=BATCH, description="acting on recordings")
    rows.sort(key=lambda row: row[0])
    replay = MemoryReplay(
        frames=np.array([frame for frame, _ in rows], np.int64),
        memories=[tuple(item.text for item in state.memory) for _, state in rows],
        subtasks=[state.subtasks for _, state in rows],
    )
    with disk_errors(config.out, "free disk space or choose another --out"):
        replay.save(config.out)
    return replay
