"""The heap of a process that serves for months."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
RECEIVED_BYTES = 256 * 1024
"""Size of the blocks into which asyncio receives."""


def keep_heap_small() -> bool:
    """Makes glibc give freed blocks of 256 KiB and more back to the system; returns whether it is the C library here.

    It does so by itself until the first of them is freed, and then takes such blocks from the heap. asyncio receives
    into one of them and keeps the part that was filled; frames of many sizes leave the heap in pieces, which then grows
    by some 30 bytes a frame. For the whole process, so this is for a program that serves, not for a library.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, RECEIVED_BYTES))
    except (AttributeError, OSError, TypeError):
        return False
