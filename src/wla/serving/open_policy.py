"""A policy by its name: a checkpoint, or the address of a server."""

from __future__ import annotations

from typing import Any

from wla.serving.client import RemotePolicy
from wla.types import Policy


def open_policy(name: str, robot: str | None = None) -> Policy[Any]:
    """Returns the policy. A server needs no model libraries here.

    robot: the one that a checkpoint for several acts for. ValueError with a server, which acts for one already.
    """
    if name.startswith(("ws://", "wss://")):
        if robot is not None:
            raise ValueError(f"{name}: a server acts for one robot, which was chosen where it runs; leave robot out")
        return RemotePolicy(name)
    from wla.policy.wla_policy import load_policy

    return load_policy(name, robot=robot)
