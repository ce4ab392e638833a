"""Frames at which windows may start: executed chunks, the episodes of a split, and the memory of a policy there."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from test_loader import make_sampler, memories_of, memory_prompter, sample_batch

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.memory import MemoryAugmentation
from wla.data.memory_replay import MemoryReplay


def test_memories_of_a_policy_do_not_move_samples_to_excluded_frames(tmp_path):
    executed = [True] * 6 + [False] * 2 + [True] * 6
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        for _ in range(2):
            for step in range(14):
                seen = tiny.observation(step)
                writer.add_frame(seen.images, seen.state, np.zeros(tiny.ACTION, np.float32), "reach")
            writer.end_episode("go", keep=True, action_executed=executed)
    frames = np.array([0, 4, 7, 14, 18, 21, 26])  # 4, 7, 18 and 21 start chunks that were not executed
    MemoryReplay(frames, [("press",)] * 7, [("reach",)] * 7).save(tmp_path / "memory.parquet")
    sampler = make_sampler(
        [LeRobotDataset(tmp_path / "data")],
        prompter=memory_prompter(),
        memory_augmentation=MemoryAugmentation(policy_memory_fraction=1.0),
        settings={"memory_replay": str(tmp_path / "memory.parquet")},
    )
    batch = sample_batch(sampler, size=300)
    assert set(batch.ids) == {sampler.datasets[0].frame_id(index) for index in (0, 14, 26)}
    assert all("press" in text for text in memories_of(sampler, batch))


def test_episodes_are_held_out_of_training(tmp_path):
    root = tiny.write_dataset(tmp_path / "data", episodes=10)
    seen = {}
    for held_out in (False, True):
        sampler = make_sampler([LeRobotDataset(root)], settings={"validation_fraction": 0.2}, held_out=held_out)
        seen[held_out] = {name.rsplit(" ", 3)[1] for name in sample_batch(sampler, size=300).ids}
    assert len(seen[True]) == 2
    assert len(seen[False]) == 8
    assert not seen[True] & seen[False]
    one = LeRobotDataset(tiny.write_dataset(tmp_path / "one", episodes=1))
    with pytest.raises(ValueError, match="all 1 episodes are held out; hold out fewer of them, or name other"):
        make_sampler([one], settings={"validation_fraction": 0.2})


@pytest.mark.parametrize(("episodes", "held"), [("8:10", {8, 9}), ("8:", {8, 9}), (":3", {0, 1, 2})])
def test_episodes_are_held_out_by_their_index(tmp_path, episodes, held):
    root = tiny.write_dataset(tmp_path / "data", episodes=10)
    for held_out, expected in ((True, held), (False, set(range(10)) - held)):
        sampler = make_sampler([LeRobotDataset(root)], settings={"validation_episodes": episodes}, held_out=held_out)
        assert {int(name.rsplit(" ", 3)[1]) for name in sample_batch(sampler, size=300).ids} == expected


@pytest.mark.parametrize(
    ("episodes", "message"), [("8:11", "of a dataset with 10"), ("5:5", "of a dataset"), (":", "all 10")]
)
def test_episodes_that_cannot_be_held_out_are_one_line(tmp_path, episodes, message):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "data", episodes=10))
    with pytest.raises(ValueError, match=message):
        make_sampler([dataset], settings={"validation_episodes": episodes})
    with pytest.raises(ValueError, match="both hold episodes out"):
        DatasetConfig(path="data", validation_fraction=0.1, validation_episodes=episodes)


def test_actions_of_some_episodes_are_learned_and_the_others_are_videos(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "data", episodes=10))
    learned = {}
    for fraction in (0.01, 0.3, 0.6, 1.0):
        batch = sample_batch(make_sampler([dataset], settings={"action_fraction": fraction}), size=400)
        episodes = [name.rsplit(" ", 3)[1] for name in batch.ids]
        assert len(set(episodes)) == 10, "all give images"
        assert batch.subgoal_mask.any()
        known = batch.action_mask.any(dim=(1, 2)).tolist()
        learned[fraction] = {episode for episode, has in zip(episodes, known, strict=True) if has}
        assert not learned[fraction] & {episode for episode, has in zip(episodes, known, strict=True) if not has}
    assert [len(each) for each in learned.values()] == [1, 3, 6, 10]
    assert learned[0.01] <= learned[0.3] <= learned[0.6]


def test_subgoals_beyond_an_episode_may_be_its_last_frame(tmp_path):
    dataset = LeRobotDataset(tiny.write_dataset(tmp_path / "data", episodes=1, length=10))
    samplers = [make_sampler([dataset], clip_subgoals=clip) for clip in (False, True)]
    without, clipped = (sample_batch(sampler, size=200) for sampler in samplers)
    assert [sampler.num_targets()["subgoal"] for sampler in samplers] == [[10 - tiny.CHUNK], [10]]
    assert not without.subgoal_mask.all()
    assert clipped.subgoal_mask.all()
    known = without.subgoal_mask
    assert torch.equal(clipped.subgoal[known], without.subgoal[known])
    last = torch.from_numpy(dataset.random_access_frames("front")[np.array([9])])[0]
    for image in clipped.subgoal[~known]:
        assert (image.int() - last.int()).abs().max() == 0


def write_marked(root, marks):
    with DatasetWriter(root, tiny.robot_spec(), with_interventions=True) as writer:
        for step, mark in enumerate(marks):
            seen = tiny.observation(step)
            writer.add_frame(
                seen.images, seen.state, np.full(tiny.ACTION, 0.01 * step, np.float32), "reach", intervention=mark
            )
        writer.end_episode("go", keep=True)
    return LeRobotDataset(root)


def test_what_a_person_corrected_can_be_trained_on_alone(tmp_path):
    dataset = write_marked(tmp_path / "data", [6 <= step < 10 for step in range(20)])
    sampler = make_sampler([dataset], settings={"interventions": "only"})
    batch = sample_batch(sampler, size=100)
    assert set(batch.ids) == {dataset.frame_id(index) for index in range(6, 10)}
    for name, mask in zip(batch.ids, batch.action_mask[..., 0], strict=True):
        left = 10 - int(name.rsplit(" ", 1)[1])
        expected = [index < left for index in range(len(mask))]
        assert mask.tolist() == expected, "what the policy did afterwards is not imitated"
    assert len(set(sample_batch(make_sampler([dataset]), size=300).ids)) > 10


def test_corrections_that_are_not_there_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="in no whole window did a person take over"):
        make_sampler([write_marked(tmp_path / "none", [False] * 20)], settings={"interventions": "only"})
    unmarked = LeRobotDataset(tiny.write_dataset(tmp_path / "data", episodes=1))
    with pytest.raises(ValueError, match="has no column 'intervention'"):
        make_sampler([unmarked], settings={"interventions": "only"})
