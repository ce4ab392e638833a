"""Pseudo-actions for the frames of a dataset, and their error where the dataset has actions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from wla.annotate.configs import LabelActionsConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.pseudo_actions import save_pseudo_actions
from wla.files import disk_errors
from wla.policy.inverse_checkpoint import load_inverse
from wla.progress import track

BATCH = 256


class LabelActionsResult(NamedTuple):
    """Summary of labelled frames.

    Attributes:
        frames: number of labelled frames.
        unknown: action dimensions that the model does not predict reliably.
        mean_absolute_error: error of the other dimensions, in their units; empty for a dataset without actions.
    """

    frames: int
    unknown: tuple[str, ...]
    mean_absolute_error: dict[str, float]


def label_actions(config: LabelActionsConfig) -> LabelActionsResult:
    """Predicts the actions of all frames of a dataset with an inverse dynamics model and writes them to a file.

    Raises:
        ValueError: the dataset was recorded with a different robot, or the model predicts no dimension reliably.
    """
    inverse, dataset = load_inverse(config.inverse), LeRobotDataset(config.dataset)
    robot = inverse.config.robot
    robot.require_equal(dataset.require_robot(), ours=f"inverse dynamics {config.inverse}", theirs=str(config.dataset))
    if not inverse.reliable_dimensions.any():
        raise ValueError(f"{config.inverse}: explains too little of every action dimension; train it for longer")
    batches: list[Float32[np.ndarray, "B A"]] = []
    for start in track(range(0, len(dataset), BATCH), description="labelling actions"):
        frames = np.arange(start, min(start + BATCH, len(dataset)))
        batches.append(inverse.actions(inverse.load_images(dataset, frames)))
    actions = np.concatenate(batches)
    with disk_errors(config.out, "free disk space or choose another --out"):
        save_pseudo_actions(actions, config.out)
    reliable = inverse.reliable_dimensions
    mean_absolute_error: dict[str, float] = {}
    if dataset.actions is not None:
        errors = np.abs(actions - dataset.actions).mean(0)
        mean_absolute_error = {
            name: round(float(errors[index]), 4) for index, name in enumerate(robot.action.names) if reliable[index]
        }
    unknown = tuple(name for name, is_reliable in zip(robot.action.names, reliable, strict=True) if not is_reliable)
    return LabelActionsResult(len(actions), unknown, mean_absolute_error)
