"""Environment processes around one policy, which acts in this process on all of them at once.

An episode runs in the environment's process; there its policy is a `ParentPolicy`, whose calls are answered here. The
policy acts in rounds: when every running episode waits for a chunk, all get theirs from one `act_batch`. What a batch
holds therefore follows from the jobs and the number of processes, never from timing, and the same command gives the
same results. Messages between these processes are pickled; nothing of that reaches a disk or a network.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from operator import methodcaller
from typing import Any

import numpy as np

from wla.policy.wrapper import observes_images
from wla.process_pool import interrupts_blocked
from wla.rollout.engines.env_process import IDLE, Call, Failure, PolicyFacts, environment_process
from wla.rollout.episode import EpisodeError, episode_errors, failed_episode
from wla.rollout.runner import Episode, EpisodeRunner, Job
from wla.rollout.versions import join_versions, versions

POLL_S = 1.0
"""Seconds between two looks at the clocks of the environments."""
JOBS_AHEAD = 4
"""Jobs for each process that may begin before the first unfinished one has ended; their episodes wait in memory."""


class EnvProcess:
    """An environment process as seen from here.

    job, number: what it runs and the index of that among all jobs; None while it is idle. call: what its episode waits
    for. A process that died is noticed when its connection is read.
    """

    def __init__(self, runner: EpisodeRunner) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child inherits OpenGL contexts and thread pools
        self.connection, theirs = context.Pipe()
        self._clock = context.Value("d", IDLE)
        policy = runner.policy
        facts = None
        if policy is not None:
            facts = PolicyFacts(policy.robot_spec, policy.checkpoint_sha256, observes_images(policy))
        arguments = (theirs, self._clock, replace(runner, policy=None), facts)
        self._process = context.Process(target=environment_process, args=arguments, daemon=True)
        with interrupts_blocked():
            self._process.start()
        theirs.close()
        self.job: Job | None = None
        self.number = -1
        self.call: Call | None = None

    def begin(self, number: int, job: Job) -> None:
        self.number, self.job = number, job
        with suppress(OSError):
            self.connection.send(job)

    def answer(self, value: Any) -> None:
        self.call = None
        with suppress(OSError):
            self.connection.send(value)

    def hangs(self, timeout_s: float) -> bool:
        """Whether a step or reset has been running for longer than that."""
        began = self._clock.value
        return began != IDLE and time.monotonic() - began > timeout_s

    def exit_code(self) -> int | None:
        """The exit code of a process that is ending."""
        self._process.join(POLL_S)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


class ProcessEngine:
    """Rounds of all environments; see the module. The processes stay for the next jobs until it is closed."""

    def __init__(self, runner: EpisodeRunner, num_envs: int, env_timeout_s: float) -> None:
        self._runner, self._env_timeout_s = runner, env_timeout_s
        self._processes: list[EnvProcess | None] = [None] * num_envs
        self._jobs: Iterator[Job] = iter(())
        self._finished: dict[int, Episode] = {}
        self._begun = self._yielded = 0

    def run(self, jobs: Iterable[Job]) -> Generator[Episode]:
        """Episodes of the jobs, in their order; see `wla.rollout.driver.run_jobs`. All of them are to be taken before
        the next jobs."""
        assert self._begun == self._yielded, "the jobs before have ended"
        self._jobs = iter(jobs)
        self._assign()
        while self._running():
            self._wait()
            self._assign()  # resets run while the policy acts
            self._act()
            while self._yielded in self._finished:
                self._yielded += 1
                yield self._finished.pop(self._yielded - 1)
            if not self._running():
                self._assign()  # all others had ended and waited for the slowest one

    def close(self) -> None:
        for process in filter(None, self._processes):
            process.kill()
        self._processes = [None] * len(self._processes)

    def _running(self) -> list[EnvProcess]:
        return [process for process in self._processes if process is not None and process.job is not None]

    def _assign(self) -> None:
        """A job for every idle process, as long as there are jobs."""
        for slot, process in enumerate(self._processes):
            if process is not None and process.job is not None:
                continue
            if self._begun - self._yielded >= JOBS_AHEAD * len(self._processes):
                return
            job = next(self._jobs, None)
            if job is None:
                return
            if process is None:
                process = self._processes[slot] = EnvProcess(self._runner)
            process.begin(self._begun, job)
            self._begun += 1

    def _wait(self) -> None:
        """Until every running episode waits for the policy, or has ended."""
        while pending := [process for process in self._running() if process.call is None]:
            ready = wait([process.connection for process in pending], POLL_S)
            for process in pending:
                if process.connection in ready:
                    self._receive(process)
                elif process.hangs(self._env_timeout_s):
                    self._lose(process, f"the environment hung: a step or reset took over {self._env_timeout_s:g} s")

    def _receive(self, process: EnvProcess) -> None:
        try:
            message = process.connection.recv()
        except (EOFError, OSError):
            self._lose(process, f"the environment's process died (exit code {process.exit_code()})")
            return
        if isinstance(message, Exception):
            raise message
        if not isinstance(message, Call):
            result, recording = message
            # The environment's process loads no libraries of the policy.
            result = replace(result, versions=join_versions(versions(), result.versions))
            self._finished[process.number], process.job = (result, recording), None
        elif message.method == "act":
            process.call = message
        else:
            process.answer(self._answer(message))

    def _lose(self, process: EnvProcess, error: str) -> None:
        """Count the episode as an error and make room for a new process."""
        assert process.job is not None, "only running episodes are lost"
        process.kill()
        self._processes[self._processes.index(process)] = None
        policy = self._runner.policy
        result = failed_episode(
            process.job.variant,
            process.job.seed,
            error,
            policy_name=self._runner.policy_name,
            checkpoint_sha256=None if policy is None else policy.checkpoint_sha256,
        )
        self._finished[process.number] = (result, None)

    def _act(self) -> None:
        """A chunk for every episode that waits for one; calls with the same options share a batch."""
        waiting = [process for process in self._running() if process.call is not None]
        batches: dict[str, list[EnvProcess]] = {}
        for process in sorted(waiting, key=lambda process: process.number):
            batches.setdefault(_batch_key(process), []).append(process)
        for batch in batches.values():
            for process, value in zip(batch, self._act_batch([_call_of(process) for process in batch]), strict=True):
                process.answer(value)

    def _act_batch(self, calls: Sequence[Call]) -> Sequence[Any]:
        assert self._runner.policy is not None, "only a shared policy is called"
        if len(calls) > 1:
            observations, states = zip(*(call.arguments for call in calls), strict=True)
            try:
                with episode_errors():
                    return self._runner.policy.act_batch(observations, states, **calls[0].options)
            except EpisodeError:
                pass  # one by one below, so that only the episode at fault gets the error
        return [self._answer(call) for call in calls]

    def _answer(self, call: Call) -> Any:
        """What the policy returns, or a `Failure`."""
        try:
            with episode_errors():
                return methodcaller(call.method, *call.arguments, **call.options)(self._runner.policy)
        except EpisodeError as error:
            return Failure(str(error))


def _call_of(process: EnvProcess) -> Call:
    assert process.call is not None, "it waits for the policy"
    return process.call


def _batch_key(process: EnvProcess) -> str:
    """Equal for calls that may share a batch: options that are plain values; arrays belong to their own episode."""
    options = _call_of(process).options
    if any(isinstance(value, np.ndarray) for value in options.values()):
        return str(process.number)
    return repr(sorted(options.items()))
