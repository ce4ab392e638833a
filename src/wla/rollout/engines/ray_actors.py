"""Environments as Ray actors: on this machine, or on the machines of a cluster, which need this package and the
environment's. Messages travel by Ray, which pickles them: use a cluster that nobody else can reach."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from wla.foreign import one_line
from wla.hardware import cores
from wla.rollout.engines.environment import IDLE, PolicyFacts, serve_jobs
from wla.rollout.engines.rounds import WorkerLostError, elsewhere
from wla.rollout.runner import EpisodeRunner

CONNECT_S = 10.0
"""Seconds for a cluster's head to answer."""
START_S = 120.0
"""Seconds in which an actor starts, or is lost: the machine that it was meant for may be gone."""


class EnvActor:
    """An environment, in a process of Ray's. Its episodes run in a thread, so that it can be asked for its clock."""

    def __init__(self, runner: EpisodeRunner, facts: PolicyFacts | None) -> None:
        self._clock, (self._connection, theirs) = ThreadClock(), Pipe()
        arguments = (theirs, self._clock, runner, facts)
        threading.Thread(target=_serve_jobs, args=arguments, daemon=True).start()

    def exchange(self, message: Any) -> Any:
        """Sends a job, or the answer to a call, and returns the next message of `serve_jobs`."""
        self._connection.send(message)
        return self._connection.recv()

    def busy_s(self) -> float:
        """Seconds for which a step or reset has been running; 0 between them."""
        began = self._clock.value
        return 0.0 if began == IDLE else time.monotonic() - began


@dataclass
class ThreadClock:
    """A clock of one process."""

    value: float = IDLE


class RayWorker:
    """An actor as seen from here."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.reply: Any = None
        self._asked_at, self._started = time.monotonic(), False
        self._busy_s = actor.busy_s.remote()

    def send(self, message: Any) -> None:
        self.reply = self._actor.exchange.remote(message)

    def receive(self) -> Any:
        import ray

        try:
            return ray.get(self.reply)
        except ray.exceptions.RayError as error:
            raise WorkerLostError(f"the environment's actor died ({type(error).__name__})") from error

    def hangs(self, timeout_s: float) -> bool:
        """See `Worker.hangs`; also true for an actor that does not even tell its clock."""
        import ray

        now = time.monotonic()
        answered, _ = ray.wait([self._busy_s], timeout=0)
        if not answered:
            return now - self._asked_at > (timeout_s if self._started else START_S)
        try:
            busy_s = ray.get(self._busy_s)
        except ray.exceptions.RayError:
            return False  # it died, which `receive` says
        self._busy_s, self._asked_at, self._started = self._actor.busy_s.remote(), now, True
        return busy_s > timeout_s

    def kill(self) -> None:
        import ray

        ray.kill(self._actor)


class RayWorkers:
    """Starts actors with a CPU each, on a cluster or, without an address, on this machine alone.

    ModuleNotFoundError without Ray, ValueError when no cluster answers at the address or it has too few CPUs.
    """

    def __init__(self, runner: EpisodeRunner, num_envs: int, address: str | None) -> None:
        ray = _import_ray()
        self._runner = runner
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(address, num_envs)
        available = int(ray.cluster_resources().get("CPU", 0))
        if available < num_envs:
            self.close()
            raise ValueError(f"--num-envs {num_envs}: each needs a CPU, and the Ray cluster has {available}")
        self._actor = ray.remote(num_cpus=1, max_concurrency=2)(EnvActor)

    def start(self) -> RayWorker:
        return RayWorker(self._actor.remote(*elsewhere(self._runner)))

    def ready(self, workers: Sequence[RayWorker], timeout_s: float) -> Collection[RayWorker]:
        import ray

        replies = [worker.reply for worker in workers]
        ray.wait(replies, timeout=timeout_s)
        ready, _ = ray.wait(replies, num_returns=len(replies), timeout=0)
        return [worker for worker in workers if worker.reply in ready]

    def close(self) -> None:
        import ray

        if self._connected:
            ray.shutdown()


def _serve_jobs(connection: Connection, *arguments: Any) -> None:
    """`serve_jobs`, after which nobody waits for an answer any more."""
    with connection:
        serve_jobs(connection, *arguments)


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # which it would send over the network
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--engine ray needs Ray: pip install 'wla[ray]'") from error
    return ray


def _connect(address: str | None, num_envs: int) -> None:
    import ray

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address is None:
        # Otherwise a cluster that happens to run here would be used.
        options |= {"address": "local", "num_cpus": max(num_envs, cores()), "include_dashboard": False}
    else:
        options["address"] = address
    try:
        if address is not None:
            _require_listener(address)
        ray.init(**options)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        where = "this machine" if address is None else address
        raise ValueError(
            f"--engine ray: no Ray cluster on {where} ({one_line(error)}); start one with: ray start --head "
            "(one that has tokens needs RAY_AUTH_MODE=token here, too)"
        ) from error


def _require_listener(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()
