"""Frames for clients that may be slow."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from websockets.asyncio.server import ServerConnection

SEND_TIMEOUT_S = 10.0
"""Seconds after which a client that does not read is dropped."""

Event = TypeVar("Event")


async def sent(connection: ServerConnection, frame: bytes | str) -> bool:
    """Sends a frame. False when the client did not read it in time: its connection is cut."""
    try:
        await asyncio.wait_for(connection.send(frame), SEND_TIMEOUT_S)
    except TimeoutError:
        connection.transport.abort()
        return False
    return True


class Mailbox(Generic[Event]):
    """Events for one reader, who gets the latest of each key: it never holds more than one of them.

    So whoever puts something in never waits, however slow the reader is.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[Hashable, Event] = OrderedDict()
        self._arrived = asyncio.Event()
        self.skipped = 0

    def put(self, key: Hashable, event: Event) -> None:
        """Adds an event in the place of the one with the same key, which then counts as skipped."""
        self.skipped += key in self._events
        self._events[key] = event
        self._arrived.set()

    async def get(self) -> Event:
        """The event whose key waits for longest."""
        while not self._events:
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popitem(last=False)[1]
