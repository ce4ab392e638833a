"""Ctrl-C and SIGTERM, also where a library turns them into an error of its own."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Context in which Ctrl-C raises KeyboardInterrupt, as usual, SIGTERM does the same, and both are remembered.

    Schedulers, containers and `kill` send SIGTERM, which by default ends a process without saving anything.

    A library that is interrupted while it is imported or while it reads a file often ends in an ImportError or
    ValueError, which is no mistake of the user.
    """

    def __init__(self) -> None:
        self.received = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # A shell that starts a command in the background has it ignore Ctrl-C; that stays.
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: handler for number, handler in usual.items() if signal.getsignal(number) is handler}
        for number in self._before:
            signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        raise KeyboardInterrupt
