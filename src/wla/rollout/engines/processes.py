"""Environment processes on this machine. Messages between them and this process are pickled; nothing of that reaches a
disk or a network."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from wla.process_pool import end_with_parent, interrupts_blocked
from wla.rollout.engines.environment import IDLE, Clock, PolicyFacts, serve_jobs
from wla.rollout.engines.rounds import POLL_S, WorkerLostError, elsewhere
from wla.rollout.runner import EpisodeRunner


class EnvProcess:
    """An environment process as seen from here."""

    def __init__(self, runner: EpisodeRunner) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child inherits OpenGL contexts and thread pools
        self.connection, theirs = context.Pipe()
        self._clock = context.Value("d", IDLE)
        arguments = (theirs, self._clock, *elsewhere(runner))
        self._process = context.Process(target=_environment_process, args=arguments, daemon=True)
        with interrupts_blocked():
            self._process.start()
        theirs.close()

    def send(self, message: Any) -> None:
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> Any:
        try:
            return self.connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(POLL_S)
            code = self._process.exitcode
            raise WorkerLostError(f"the environment's process died (exit code {code})") from error

    def hangs(self, timeout_s: float) -> bool:
        began = self._clock.value
        return began != IDLE and time.monotonic() - began > timeout_s

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


@dataclass(frozen=True)
class ProcessWorkers:
    """Starts environment processes."""

    runner: EpisodeRunner

    def start(self) -> EnvProcess:
        return EnvProcess(self.runner)

    def ready(self, workers: Sequence[EnvProcess], timeout_s: float) -> Collection[EnvProcess]:
        ready = wait([worker.connection for worker in workers], timeout_s)
        return [worker for worker in workers if worker.connection in ready]

    def close(self) -> None:
        """Nothing is shared."""


def _environment_process(
    connection: Connection, clock: Clock, runner: EpisodeRunner, facts: PolicyFacts | None
) -> None:
    end_with_parent()
    serve_jobs(connection, clock, runner, facts)
