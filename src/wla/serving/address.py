"""Names of policies that are addresses of servers."""

from __future__ import annotations


def is_address(name: str) -> bool:
    """Whether the name of a policy is the address of a server, ws://HOST:PORT or wss://HOST:PORT."""
    return name.startswith(("ws://", "wss://"))
