"""Emergency stops by those who watch a policy, for the robot that it drives from another machine.

The server answers no more requests of a stopped session; a robot that waits for that would first execute the actions
that it has.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from wla.foreign import one_line
from wla.serving.client import RemotePolicy
from wla.serving.watch.source import ObservedServer
from wla.specs import RobotSpec


class _Stops:
    """A `Listener` that passes on the stops of one client's sessions."""

    def __init__(self, client: str, stop: Callable[[str], None], ready: threading.Event) -> None:
        self._client, self._stop, self._ready = client, stop, ready
        self._stopped: dict[str, str | None] = {}

    def connected(self, server: Mapping[str, Any], robot: RobotSpec) -> None:
        self._ready.set()

    def lost(self, line: str) -> None:
        pass  # the policy's own connection is lost, too, and without fresh actions a robot holds

    def received(self, fields: Mapping[str, Any]) -> None:
        name = fields.get("name")
        if not isinstance(name, str) or not name.startswith(self._client):
            return
        reason = str(fields["stopped"]) if fields.get("stopped") else None
        # Every frame of a session repeats its stop, and the frame of before may be sent after it, too.
        if reason is not None and reason != self._stopped.get(name):
            self._stop(reason)
        self._stopped[name] = reason


@contextmanager
def remote_stops(policy: RemotePolicy, stop: Callable[[str], None]) -> Iterator[None]:
    """Context in which `stop` is called, from another thread, with the reason when an observer stops the policy.

    ConnectionError or ValueError where the server cannot be watched; where that is found out later, it stops.
    """
    observed = ObservedServer(policy.url, predictions=False)
    ready, failed, running = threading.Event(), list[Exception](), list[Callable[[], object]]()
    observed.listeners.append(_Stops(policy.client, stop, ready))

    async def observe() -> None:
        task = asyncio.current_task()
        assert task is not None, "in asyncio.run"
        loop = asyncio.get_running_loop()
        running.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await observed.run()

    def run() -> None:
        try:
            with suppress(asyncio.CancelledError):
                asyncio.run(observe())
        except Exception as error:  # noqa: BLE001 - whatever ends it, the robot is stopped
            if ready.is_set():
                stop(f"stops can no longer be followed: {one_line(error)}")
            else:
                failed.append(error)
        ready.set()

    thread = threading.Thread(target=run, name="stops", daemon=True)
    thread.start()
    try:
        ready.wait()
        if failed:
            raise failed[0]
        yield
    finally:
        with suppress(RuntimeError):  # it has ended
            running[0]()
        thread.join()
