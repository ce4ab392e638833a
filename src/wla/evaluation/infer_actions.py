"""Actions for the frames of a dataset that has none, or how far they are from those of one that has."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from rich.progress import track

from wla.data.inferred import save_inferred
from wla.data.lerobot import LeRobotDataset
from wla.evaluation.configs import InferConfig
from wla.files import disk_errors
from wla.policy.inverse import load_inverse

BATCH = 256


def infer_actions(config: InferConfig) -> tuple[int, dict[str, float] | None]:
    """Write what a model of inverse dynamics takes for the actions of a dataset's frames.

    How many, and the mean absolute error of each dimension, in its unit, where the dataset says what they were.
    ValueError when the dataset is of another robot.
    """
    inverse, dataset = load_inverse(config.inverse), LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: does not say which robot it is of (meta/wla_robot.json is missing)")
    robot = inverse.config.robot
    robot.require_equal(dataset.robot_spec, ours=f"inverse dynamics {config.inverse}", theirs=str(config.dataset))
    found: list[Float32[np.ndarray, "B A"]] = []
    for start in track(range(0, len(dataset), BATCH), description="naming motions"):
        frames = np.arange(start, min(start + BATCH, len(dataset)))
        found.append(inverse.actions(inverse.look(dataset, frames)))
    actions = np.concatenate(found)
    with disk_errors(config.out, "free disk space or choose another --out"):
        save_inferred(actions, config.out)
    if dataset.actions is None:
        return len(actions), None
    off = np.abs(actions - dataset.actions).mean(0)
    return len(actions), {name: round(float(each), 4) for name, each in zip(robot.action.names, off, strict=True)}
