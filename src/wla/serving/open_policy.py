"""A policy by its name: a checkpoint, or the address of a server."""

from __future__ import annotations

from typing import Any

from wla.serving.client import RemotePolicy
from wla.types import Policy


def open_policy(name: str) -> Policy[Any]:
    """Returns the policy. A server needs no model libraries here."""
    if name.startswith(("ws://", "wss://")):
        return RemotePolicy(name)
    from wla.policy.wla_policy import load_policy

    return load_policy(name)
