from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_qwen

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory import MemoryConfig
from wla.data.memory_replay import MemoryReplay
from wla.policy.checkpoint import save_checkpoint
from wla.policy.wla_policy import load_policy
from wla.rollout.configs import RecordMemoryConfig
from wla.rollout.memory_replay import record_memory
from wla.rollout.recorded_episodes import recorded_observation


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny.write_dataset(tmp_path_factory.mktemp("recall") / "data", episodes=3, length=7)


def save(folder: Path, *, replan_steps: int | None = None, **prompt: object) -> None:
    checkpoint = tiny.checkpoint()
    update = {"prompt": tiny.PROMPT.replace(**prompt), "replan_steps": replan_steps}
    save_checkpoint(replace(checkpoint, config=checkpoint.config.replace(**update)), folder)


def test_it_is_the_memory_in_the_prompt_on_the_recording(dataset, tmp_path):
    save(tmp_path / "p", replan_steps=2, memory=MemoryConfig(tokens=400))
    written = record_memory(
        RecordMemoryConfig(policy=str(tmp_path / "p"), dataset=dataset, out=tmp_path / "own.parquet")
    )
    data = LeRobotDataset(dataset)
    starts = [episode.start for episode in data.episodes]
    back = MemoryReplay.load(tmp_path / "own.parquet", np.array(starts))
    assert back.frames.tolist() == written.frames.tolist() == [s + step for s in starts for step in (0, 2, 4, 6)]
    policy = load_policy(tmp_path / "p")
    for episode in data.episodes:
        state = policy.reset(episode.instruction)
        for step in range(0, 7, 2):
            place = back.frames.tolist().index(episode.start + step)
            assert back.memories[place] == tuple(item.text for item in state.memory)
            assert back.subtasks[place] == state.subtasks
            _, state = policy.act(recorded_observation(data, episode.start + step, list(data.cameras)), state)
            if step + 1 < len(episode):
                state = policy.observe(recorded_observation(data, episode.start + step + 1, list(data.cameras)), state)


def test_a_policy_that_says_nothing_has_nothing_to_recall(dataset, tmp_path):
    save(tmp_path / "p", language=False)
    with pytest.raises(ValueError, match="predicts no subtasks"):
        record_memory(RecordMemoryConfig(policy=str(tmp_path / "p"), dataset=dataset, out=tmp_path / "own.parquet"))


def test_a_dataset_of_another_robot_is_refused(dataset, tmp_path):
    save_checkpoint(tiny_qwen.checkpoint(language=True), tmp_path / "p")
    with pytest.raises(ValueError, match="policy"):
        record_memory(RecordMemoryConfig(policy=str(tmp_path / "p"), dataset=dataset, out=tmp_path / "own.parquet"))
