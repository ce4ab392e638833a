"""Units of a policy that is trained on datasets with and without actions."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tiny
import torch

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import DatasetConfig
from wla.data.normalize import NormalizationConfig, Statistics, VectorStatistics, compute_statistics
from wla.data.published_statistics import write_published
from wla.policy.checkpoint import load_checkpoint
from wla.specs import RobotSpec
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig, StatisticsConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromBackbone, FromCheckpoint
from wla.training.trainer import train


def test_statistics_are_those_of_the_datasets_whose_actions_are_trained(tmp_path, monkeypatch):
    tiny.write_dataset(tmp_path / "robot")
    with DatasetWriter(tmp_path / "videos", tiny.robot_spec()) as writer:
        frame = tiny.observation()
        for _ in range(5):
            writer.add_frame(frame.images, 10 * frame.state, np.full(tiny.ACTION, 9.0, np.float32), "wait")
        writer.end_episode("wait", keep=True, seed=0)
    start = Initialization(tiny.checkpoint().model, tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    recipe = PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(
            DatasetConfig(path=str(tmp_path / "robot")),
            DatasetConfig(path=str(tmp_path / "videos"), actions=False),
        ),
        loop=LoopConfig(optim=OptimConfig(steps=1)),
    )
    expected = compute_statistics([LeRobotDataset(tmp_path / "robot")])
    assert recipe.build().checkpoint.robot.statistics == expected


def recipe_of(folder, monkeypatch, **changes) -> PolicyTrainConfig:
    def initialize(*_) -> Initialization:
        return Initialization(tiny.checkpoint().model, tiny.PROMPT, tiny.tokenizer())

    monkeypatch.setattr(FromBackbone, "initialize", initialize)
    values = {
        "model": tiny.model_config(),
        "init": FromBackbone(backbone="unused", codec="unused"),
        "datasets": (DatasetConfig(path=str(folder)),),
        "loop": LoopConfig(optim=OptimConfig(steps=1), batch_size=2, device="cpu"),
    }
    return PolicyTrainConfig(**values | changes)


def test_modes_of_the_recipe_are_those_of_batches_checkpoints_and_fine_tuning(tmp_path, monkeypatch):
    tiny.write_dataset(tmp_path / "robot")
    recipe = recipe_of(tmp_path / "robot", monkeypatch).override(
        ["normalization.state=MEAN_STD", "normalization.action=QUANTILES"]
    )
    objective = recipe.build()
    dataset = LeRobotDataset(tmp_path / "robot")
    low, high = np.quantile(dataset.actions, [0.01, 0.99], axis=0)
    batch = objective.sample_batch(40, torch.Generator().manual_seed(0))
    frames = [dataset.frame_id(frame) for frame in range(len(dataset))]
    rows = [frames.index(name) for name in batch.ids]
    wanted = 2 * (dataset.actions[rows] - low) / (high - low) - 1
    np.testing.assert_allclose(batch.actions[:, 0].numpy(), wanted, atol=1e-5)
    state = (dataset.state[rows] - dataset.state.mean(0)) / dataset.state.std(0)
    np.testing.assert_allclose(batch.state.numpy(), state, atol=1e-4)

    folder = train(objective, recipe.loop, tmp_path / "run")
    assert load_checkpoint(folder).config.normalization == recipe.normalization
    monkeypatch.undo()
    later = recipe.replace(init=FromCheckpoint(policy=str(folder)), normalization=None).build().checkpoint
    assert (later.config.normalization, later.robot.statistics) == (
        recipe.normalization,
        objective.checkpoint.robot.statistics,
    )


def absolute_robot() -> RobotSpec:
    """The toy robot with targets instead of motions."""
    spec = tiny.robot_spec()
    return spec.replace(action=spec.action.replace(names=("x", "gripper"), units=("m", "1"), kinds=("absolute",) * 2))


def test_relative_actions_of_the_recipe_are_those_of_batches_checkpoints_and_fine_tuning(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "robot", absolute_robot()) as writer:
        for seed in range(2):
            for step in range(8):
                action = rng.uniform(-0.1, 0.1, 2).astype(np.float32)
                writer.add_frame(tiny.observation(8 * seed + step).images, rng.random(3, np.float32), action, "wait")
            writer.end_episode("wait", keep=True, seed=seed)
    recipe = recipe_of(tmp_path / "robot", monkeypatch).override(["action_representation.relative={}"])
    objective = recipe.build()
    dataset, known = LeRobotDataset(tmp_path / "robot"), objective.checkpoint.robot.statistics.action
    assert known.count == 2 * (5 * 4 + 3 + 2 + 1)  # whole chunks of 4, cut at the end of the episode
    batch = objective.sample_batch(20, torch.Generator().manual_seed(0))
    frames = [dataset.frame_id(frame) for frame in range(len(dataset))]
    middle, radius = np.add(known.min, known.max) / 2, np.subtract(known.max, known.min) / 2
    for row, name in enumerate(batch.ids):
        first = frames.index(name)
        for step in np.flatnonzero(batch.action_mask[row, :, 0].numpy()):
            wanted = dataset.actions[first + step] - np.float32([dataset.state[first, 0], 0])
            np.testing.assert_allclose(batch.actions[row, step], (wanted - middle) / radius, atol=1e-5)

    folder = train(objective, recipe.loop, tmp_path / "run")
    monkeypatch.undo()
    later = recipe.replace(init=FromCheckpoint(policy=str(folder)), action_representation=None).build().checkpoint
    assert later.config.action_representation == recipe.action_representation
    assert later.robot.statistics == objective.checkpoint.robot.statistics


def test_a_file_of_statistics_of_the_robot_s_actions_is_refused_for_other_ones(tmp_path, monkeypatch):
    with DatasetWriter(tmp_path / "robot", absolute_robot()) as writer:
        writer.add_frame(tiny.observation().images, np.zeros(3, np.float32), np.zeros(2, np.float32), "wait")
        writer.end_episode("wait", keep=True, seed=0)
    known = compute_statistics([LeRobotDataset(tmp_path / "robot")])
    write_published(tmp_path / "known.json", {"robot": known})
    recipe = recipe_of(tmp_path / "robot", monkeypatch, statistics=StatisticsConfig(path=str(tmp_path / "known.json")))
    assert recipe.build().checkpoint.robot.statistics.agrees(known)
    with pytest.raises(ValueError, match=r"known.json: has ranges of the robot's actions, and action_representation"):
        recipe.override(["action_representation.relative={}"]).build()


def test_a_file_of_statistics_without_quantiles_is_refused_where_they_are_needed(tmp_path, monkeypatch):
    tiny.write_dataset(tmp_path / "robot")
    known = compute_statistics([LeRobotDataset(tmp_path / "robot")])
    bare = [VectorStatistics(min=vector.min, max=vector.max) for vector in (known.state, known.action)]
    write_published(tmp_path / "bare.json", {"robot": Statistics(state=bare[0], action=bare[1])})
    write_published(tmp_path / "whole.json", {"robot": known})
    recipe = recipe_of(tmp_path / "robot", monkeypatch, normalization=NormalizationConfig(action="QUANTILE10"))
    with pytest.raises(ValueError, match="action: QUANTILE10 needs q10 and q90, and its statistics have only min, max"):
        recipe.replace(statistics=StatisticsConfig(path=str(tmp_path / "bare.json"))).build()
    whole = recipe.replace(statistics=StatisticsConfig(path=str(tmp_path / "whole.json"))).build()
    assert whole.checkpoint.robot.statistics.agrees(known)


def test_training_announces_dimensions_that_hardly_vary(tmp_path, monkeypatch):
    with DatasetWriter(tmp_path / "robot", tiny.robot_spec()) as writer:
        for step in range(8):
            frame = tiny.observation(step)
            state = frame.state * np.float32([1, 1e-6, 1])
            writer.add_frame(frame.images, state, np.float32([0.01 * step, 0.1]), "wait")
        writer.end_episode("wait", keep=True, seed=0)
    names = tiny.robot_spec().observation.state_names
    description = recipe_of(tmp_path / "robot", monkeypatch).build().description
    assert f"state: these dimensions vary by less than 0.0001 and count as constant: {names[1]}" in description


def test_a_resumed_run_keeps_its_ranges_and_tokens_where_its_dataset_has_grown(tmp_path, monkeypatch, capsys):
    tiny.write_dataset(tmp_path / "robot")
    recipe = recipe_of(tmp_path / "robot", monkeypatch)
    first = load_checkpoint(train(recipe.build(), recipe.loop, tmp_path / "run"))
    with DatasetWriter(tmp_path / "robot", tiny.robot_spec()) as writer:
        frame = tiny.observation()
        for _ in range(5):
            writer.add_frame(frame.images, 10 + frame.state, np.full(tiny.ACTION, 0.1, np.float32), "wait")
        writer.end_episode("wait", keep=True, seed=9)
    grown = recipe.build()
    assert grown.checkpoint.robot.statistics != first.robot.statistics
    loop = recipe.loop.replace(optim=OptimConfig(steps=2))
    second = load_checkpoint(train(grown, loop, tmp_path / "run", resume=True))
    assert second.robot.statistics == first.robot.statistics == grown.checkpoint.robot.statistics
    assert second.tokenizer.get_vocab() == first.tokenizer.get_vocab()
    message = f"{tmp_path / 'robot'} changed since this run was started; its ranges"
    assert capsys.readouterr().err.count(message) == 1
    train(recipe.build(), loop.replace(optim=OptimConfig(steps=3)), tmp_path / "run", resume=True)
    assert capsys.readouterr().err.count(message) == 1  # not what it was started with, still


def test_a_resumed_run_notices_other_episodes_with_the_same_ranges(tmp_path, monkeypatch, capsys):
    data, run = tiny.write_dataset(tmp_path / "robot", episodes=3), tmp_path / "run"
    start = Initialization(tiny.checkpoint().model, tiny.PROMPT, tiny.tokenizer())
    monkeypatch.setattr(FromBackbone, "initialize", lambda *_: start)
    statistics = tmp_path / "statistics.json"
    write_published(statistics, {"robot": compute_statistics([LeRobotDataset(data)])})
    recipe = PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(DatasetConfig(path=str(data)),),
        statistics=StatisticsConfig(path=str(statistics)),
        loop=LoopConfig(optim=OptimConfig(steps=1), batch_size=2, device="cpu"),
    )
    train(recipe.build(), recipe.loop, run)
    longer = recipe.replace(loop=recipe.loop.replace(optim=OptimConfig(steps=2)))
    train(longer.build(), longer.loop, run, resume=True)
    assert "changed since" not in capsys.readouterr().err
    shutil.rmtree(data)
    tiny.write_dataset(data, episodes=4)
    longest = recipe.replace(loop=recipe.loop.replace(optim=OptimConfig(steps=3)))
    train(longest.build(), longest.loop, run, resume=True)
    assert f"{run}: {data} changed since this run was started" in capsys.readouterr().err
