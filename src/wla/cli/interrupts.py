"""Ctrl-C, also where a library turns it into an error of its own."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupts:
    """Context in which Ctrl-C raises KeyboardInterrupt, as usual, and is remembered.

    A library that is interrupted while it is imported or while it reads a file often ends in an ImportError or
    ValueError, which is no mistake of the user.
    """

    def __init__(self) -> None:
        self.received = False
        self._installed = False

    def __enter__(self) -> Self:
        # A shell that starts a command in the background has it ignore Ctrl-C; that stays.
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if usual and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._interrupt)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        raise KeyboardInterrupt
