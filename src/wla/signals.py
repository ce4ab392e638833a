"""When Ctrl-C and SIGTERM may stop a process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """Context in which Ctrl-C and SIGTERM do not interrupt; yields a function that returns whether one was received.

    torchrun and cluster schedulers send SIGTERM. Only the main thread receives signals, so in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    deferred = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda number, _: received.append(number)) for number in deferred]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(deferred, previous, strict=True):
            signal.signal(number, handler)
