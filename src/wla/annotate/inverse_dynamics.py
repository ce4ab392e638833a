"""Actions for the frames of a dataset that has none, or how far they are from those of one that has."""

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
    """frames: how many were named. unknown: dimensions of the action that frames do not tell. off: mean absolute error
    of the others, in their units, where the dataset says what was done."""

    frames: int
    unknown: tuple[str, ...]
    mean_absolute_error: dict[str, float]


def label_actions(config: LabelActionsConfig) -> LabelActionsResult:
    """Write what a model of inverse dynamics takes for the actions of a dataset's frames.

    ValueError when the dataset is of another robot, and when the model cannot tell any dimension.
    """
    inverse, dataset = load_inverse(config.inverse), LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: does not say which robot it is of (meta/wla_robot.json is missing)")
    robot = inverse.config.robot
    robot.require_equal(dataset.robot_spec, ours=f"inverse dynamics {config.inverse}", theirs=str(config.dataset))
    if not inverse.reliable_dimensions.any():
        raise ValueError(f"{config.inverse}: explains too little of every dimension of the action; train it for longer")
    found: list[Float32[np.ndarray, "B A"]] = []
    for start in track(range(0, len(dataset), BATCH), description="naming motions"):
        frames = np.arange(start, min(start + BATCH, len(dataset)))
        found.append(inverse.actions(inverse.load_images(dataset, frames)))
    actions = np.concatenate(found)
    with disk_errors(config.out, "free disk space or choose another --out"):
        save_pseudo_actions(actions, config.out)
    known = inverse.reliable_dimensions
    mean_absolute_error: dict[str, float] = {}
    if dataset.actions is not None:
        errors = np.abs(actions - dataset.actions).mean(0)
        mean_absolute_error = {
            name: round(float(errors[index]), 4) for index, name in enumerate(robot.action.names) if known[index]
        }
    unknown = tuple(name for name, tells in zip(robot.action.names, known, strict=True) if not tells)
    return LabelActionsResult(len(actions), unknown, mean_absolute_error)
