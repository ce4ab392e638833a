"""A wla policy before its first step of LeRobot's training: a given one, or a new one of nano size for the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.utils.constants import ACTION, OBS_STATE

from lerobot_policy_wla.configuration_wla import WlaConfig
from wla.data import DatasetConfig, LeRobotDataset, Statistics, VectorStatistics
from wla.policy import Checkpoint, CheckpointConfig, PolicyRobot, TrainingData, fetch_checkpoint
from wla.presets import nano_model
from wla.training import FromBackbone, open_sources

PRIMARY_SIDE, OTHER_SIDE = 96, 48
"""Pixels along each side at which a new policy reads the first camera and the others."""
STATISTICS = ("min", "max", "mean", "std", "q01", "q10", "q90", "q99")


def open_dataset(root: Path) -> LeRobotDataset:
    """The dataset as wla reads it: its robot, instructions and subtasks. ValueError as for `wla train`."""
    return open_sources([DatasetConfig(path=str(root))])[1][0]


def initial_checkpoint(
    config: WlaConfig, stats: Mapping[str, Mapping[str, Any]] | None, dataset: LeRobotDataset | None
) -> Checkpoint:
    """The policy that `config.checkpoint` names, in its own units, or else a new one in those of `stats`.

    ValueError without either a checkpoint or a dataset, and for a dataset without a robot file.
    """
    if config.checkpoint is not None:
        return fetch_checkpoint(config.checkpoint)
    if dataset is None or stats is None:
        raise ValueError(
            "a new wla policy is made for a dataset; to act, name a policy: --policy.path=FOLDER, or "
            "--policy.type=wla --policy.checkpoint=nano-tabletop"
        )
    robot, chunk = dataset.require_robot(), config.chunk_size
    assert chunk is not None
    sides = {camera: OTHER_SIDE if row else PRIMARY_SIDE for row, camera in enumerate(robot.observation.cameras)}
    model = nano_model(state_dim=robot.observation.state_dim, action_dim=robot.action.dim, chunk=chunk, cameras=sides)
    texts = [*dataset.instructions, *dataset.subtask_texts]
    init = FromBackbone(backbone="nano-base", codec="nano-tabletop").initialize(model, texts)
    labelled = dataset.subtasks is not None and bool((dataset.subtasks >= 0).any())
    statistics = Statistics(state=vector_statistics(stats, OBS_STATE), action=vector_statistics(stats, ACTION))
    return Checkpoint(
        CheckpointConfig(
            model=init.model.config,
            prompt=init.learned_prompt(labelled=labelled),
            replan_steps=config.n_action_steps,
            action_noise=0.0,
        ),
        init.model,
        (PolicyRobot(spec=robot, statistics=statistics),),
        init.tokenizer,
    )


def for_dataset(checkpoint: Checkpoint, dataset: LeRobotDataset) -> Checkpoint:
    """The checkpoint with the dataset among those that it was trained on. ValueError for one of another robot."""
    checkpoint.robot.spec.require_equal(dataset.require_robot(), ours="the policy", theirs=str(dataset.root))
    known = checkpoint.training_data
    if known is not None and not known.held_out(dataset):  # a training that is resumed
        return checkpoint
    source = DatasetConfig(path=str(dataset.root))
    return replace(checkpoint, training_data=TrainingData.of([(source, dataset)], known))


def vector_statistics(stats: Mapping[str, Mapping[str, Any]], key: str) -> VectorStatistics:
    """LeRobot's statistics of a feature. ValueError where it has none."""
    found = stats.get(key)
    if found is None or not {"min", "max"} <= found.keys():
        raise ValueError(f"the dataset's statistics lack min and max of {key}; write its meta/stats.json again")
    values = {name: tuple(np.asarray(found[name], float).ravel().tolist()) for name in STATISTICS if name in found}
    count = int(np.asarray(found["count"]).ravel()[0]) if "count" in found else None
    return VectorStatistics(**values, count=count)
