"""The heap of a process that serves for months."""

from __future__ import annotations

import asyncio
import ctypes

EVERY_S = 2.0
"""Seconds between two returns; one takes a millisecond."""


async def keep_heap_small() -> None:
    """Gives the pages that the C library holds in vain back to the system, until it is cancelled.

    asyncio receives into blocks of 256 KiB and keeps the part that was filled. Frames of many sizes leave the heap in
    pieces, which by itself grows by some 30 bytes a frame. Ends at once where the C library is not glibc.
    """
    try:
        give_back = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    while True:
        await asyncio.sleep(EVERY_S)
        give_back(0)
