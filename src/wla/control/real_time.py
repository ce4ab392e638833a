"""Time and threads of a control loop, behind two small protocols, so that tests run it in a time of their own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol


class Clock(Protocol):
    """Seconds from any origin."""

    def now(self) -> float: ...

    def sleep_until(self, deadline: float) -> None:
        """Returns at the deadline, or at once where it is past."""
        ...


class Answer(Protocol):
    """The result of a call that runs elsewhere."""

    def done(self) -> bool: ...

    def result(self) -> Any:
        """What the call returned; raises what it raised."""
        ...


class Worker(Protocol):
    """Runs calls one after the other beside the control loop."""

    def submit(self, call: Callable[[], Any]) -> Answer: ...

    def close(self) -> None:
        """Takes no more calls, and waits a little for the one that runs."""
        ...


class MonotonicClock:
    """The clock of this machine that never jumps."""

    def now(self) -> float:
        return time.monotonic()

    def sleep_until(self, deadline: float) -> None:
        time.sleep(max(0.0, deadline - time.monotonic()))


CLOSE_S = 10.0
"""Seconds that a running call is waited for: model libraries abort a process that ends while they compute."""


class ThreadWorker:
    """A thread that does not keep the process alive: a call that hangs, on a network, delays its end a little only."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="policy", daemon=True)
        self._thread.start()

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        answer: Future[Any] = Future()
        self._calls.put((call, answer))
        return answer

    def close(self) -> None:
        self._calls.put(None)
        with suppress(KeyboardInterrupt):
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, answer = item
            try:
                answer.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the control loop raises it
                answer.set_exception(error)
