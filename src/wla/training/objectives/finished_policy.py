"""A finished policy of which one part is trained further."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.lerobot.reader import LeRobotDataset
from wla.models import WLA, require_model
from wla.policy import Checkpoint
from wla.policy.hub import fetch_checkpoint
from wla.training.objectives.policy_data import robots_of


def finished_policy(policy: str, datasets: Sequence[LeRobotDataset]) -> tuple[Checkpoint, WLA]:
    """Returns the checkpoint and its model. policy: folder, bundled name or hub id.

    ValueError for a model that is no WLA, and for data of another robot.
    """
    checkpoint = fetch_checkpoint(policy)
    model = require_model(checkpoint.model, WLA, f"policy {policy}")
    for robot in robots_of(datasets):
        ours, theirs = f"policy {policy}", str(datasets[0].root)
        checkpoint.choose_robot(robot, policy).spec.require_equal(robot, ours=ours, theirs=theirs)
    return checkpoint, model
