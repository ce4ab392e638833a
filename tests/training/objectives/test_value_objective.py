from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from micro_batch import micro_batch_losses
from test_end_to_end import loop

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.value_targets import ValueTargetFrames
from wla.policy.checkpoint import load_checkpoint, save_checkpoint
from wla.policy.value_checkpoint import load_value
from wla.training.objectives.configs import ValueTrainConfig
from wla.training.trainer import train
from wla.types import FrameContext


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("value")
    save_checkpoint(tiny.checkpoint(), root / "policy")
    tiny.write_dataset(root / "rollouts")
    return root


def recipe(root: Path, steps: int = 2) -> ValueTrainConfig:
    return ValueTrainConfig(policy=str(root / "policy"), datasets=(str(root / "rollouts"),), loop=loop(steps, muon=()))


def test_frames_know_what_became_of_them(root):
    frames = ValueTargetFrames(LeRobotDataset(root / "rollouts"), "front")
    assert len(frames) == 20
    assert frames.success.tolist() == [True] * 10 + [False] * 10
    assert frames.steps_to_go.tolist() == [*range(9, -1, -1)] * 2


def test_episodes_that_do_not_say_whether_they_succeeded_are_refused(tmp_path):
    with DatasetWriter(tmp_path / "data", tiny.robot_spec()) as writer:
        seen = tiny.observation()
        writer.add_frame(seen.images, seen.state, np.zeros(tiny.ACTION, np.float32))
        writer.end_episode("wait", keep=True)
    with pytest.raises(ValueError, match="the outcome of episode 0 is unknown"):
        ValueTargetFrames(LeRobotDataset(tmp_path / "data"), "front")


def test_the_policy_s_backbone_reads_with_one_camera_and_stays_what_it_is(root):
    task = recipe(root).build()
    before = load_checkpoint(root / "policy").model.backbone.state_dict()
    for key, weight in task.value.model.backbone.state_dict().items():
        assert torch.equal(weight, before[key])
    assert list(task.value.model.backbone.image_tokens) == ["front"]
    micro_batch_losses(task, 0, 4, torch.Generator().manual_seed(0))[0]["loss"].backward()
    learns = {name for name, parameter in task.module.named_parameters() if parameter.grad is not None}
    assert learns
    assert all(name.startswith("head.") for name in learns)


def test_it_trains_and_scores(root, tmp_path):
    config = recipe(root)
    folder = train(config.build(), config.loop, tmp_path / "run")
    scores = load_value(folder).score([FrameContext("go")], np.zeros((1, 32, 32, 3), np.uint8))
    assert scores.shape == (1,)


def test_it_learns_which_episodes_succeed(root):
    task = recipe(root).build()
    optimizer = torch.optim.Adam(task.value.model.head.parameters(), lr=3e-3)
    losses = []
    for step in range(120):
        terms, _ = micro_batch_losses(task, step, 8, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["loss"]))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_frames_have_their_context(root):
    dataset = LeRobotDataset(root / "rollouts")
    assert dataset.subtasks is not None
    texts = [dataset.subtask_texts[index] for index in dataset.subtasks]
    contexts = ValueTargetFrames(dataset, "front").frame_contexts(np.arange(20))
    assert [context.subtask for context in contexts] == texts
    assert [context.instruction for context in contexts[::10]] == [episode.instruction for episode in dataset.episodes]
    assert [context.episode_step for context in contexts] == [*range(10)] * 2
    for row, context in enumerate(contexts):
        run = texts[row - context.subtask_step : row + 1]
        assert set(run) == {context.subtask}
        assert context.subtask_step == context.episode_step or texts[row - context.subtask_step - 1] != context.subtask
    assert {context.subtask_step for context in contexts} >= {0, 1}


def test_frames_of_episodes_without_subtasks_have_their_time(tmp_path):
    tiny.write_dataset(tmp_path / "silent", episodes=2, subtasks=False)
    context = ValueTargetFrames(LeRobotDataset(tmp_path / "silent"), "front").frame_contexts(np.array([13]))[0]
    assert (context.subtask, context.episode_step, context.subtask_step) == ("", 3, 3)
