"""Rounds of many environments around one policy, which acts in this process on all of them at once.

An episode runs where its worker is; there its policy is a `ConnectedPolicy`, whose calls are answered here. The policy
acts in rounds: when every running episode waits for a chunk, all get theirs from one `act_batch`. What a batch holds
therefore follows from the jobs and the number of workers, never from timing, and the same command gives the same
results.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import methodcaller
from typing import Any, Protocol

import numpy as np

from wla.policy.wrapper import observes_images
from wla.rollout.engines.environment import Call, Failure, PolicyFacts
from wla.rollout.episode import EpisodeError, episode_errors, failed_episode
from wla.rollout.runner import Episode, EpisodeRunner, Job
from wla.rollout.versions import join_versions, versions

POLL_S = 1.0
"""Seconds between two looks at environments that have not answered."""
JOBS_AHEAD = 4
"""Jobs for each worker that may begin before the first unfinished one has ended; their episodes wait in memory."""


class WorkerLostError(Exception):
    """A worker that ended in the middle of an episode, and how."""


class Worker(Protocol):
    """An environment somewhere else."""

    def send(self, message: Any) -> None:
        """Sends a job, or the answer to a call of its episode. A worker that died is noticed when it is read."""
        ...

    def receive(self) -> Any:
        """The next message of `serve_jobs`. WorkerLostError when the worker died."""
        ...

    def hangs(self, timeout_s: float) -> bool:
        """Whether a step or reset has been running for longer than that."""
        ...

    def kill(self) -> None: ...


class Workers(Protocol):
    """Where environments run."""

    def start(self) -> Worker: ...

    def ready(self, workers: Sequence[Any], timeout_s: float) -> Collection[Any]:
        """Those of these workers that can be read at once; waits for the first one, no longer than `timeout_s`."""
        ...

    def close(self) -> None:
        """Ends what all of them share."""
        ...


@dataclass(eq=False)
class Slot:
    """Room for a worker. number: index of its job among all jobs; job: None while it is idle. call: what its episode
    waits for."""

    worker: Worker | None = None
    job: Job | None = None
    number: int = -1
    call: Call | None = None

    def begin(self, worker: Worker, number: int, job: Job) -> None:
        self.worker, self.number, self.job = worker, number, job
        worker.send(job)

    def answer(self, value: Any) -> None:
        self.call = None
        _worker(self).send(value)

    def close(self) -> None:
        if self.worker is not None:
            self.worker.kill()
        self.worker = self.job = self.call = None


class RoundEngine:
    """Rounds of all environments; see the module. The workers stay for the next jobs until it is closed."""

    def __init__(self, runner: EpisodeRunner, workers: Workers, num_envs: int, env_timeout_s: float) -> None:
        self._runner, self._workers, self._env_timeout_s = runner, workers, env_timeout_s
        self._slots = [Slot() for _ in range(num_envs)]
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
        for slot in self._slots:
            slot.close()
        self._workers.close()

    def _running(self) -> list[Slot]:
        return [slot for slot in self._slots if slot.job is not None]

    def _assign(self) -> None:
        """A job for every idle slot, as long as there are jobs."""
        for slot in self._slots:
            if slot.job is not None:
                continue
            if self._begun - self._yielded >= JOBS_AHEAD * len(self._slots):
                return
            job = next(self._jobs, None)
            if job is None:
                return
            slot.begin(slot.worker or self._workers.start(), self._begun, job)
            self._begun += 1

    def _wait(self) -> None:
        """Until every running episode waits for the policy, or has ended."""
        while pending := [slot for slot in self._running() if slot.call is None]:
            ready = self._workers.ready([slot.worker for slot in pending], POLL_S)
            for slot in pending:
                if slot.worker in ready:
                    self._receive(slot)
                elif _worker(slot).hangs(self._env_timeout_s):
                    self._lose(slot, f"the environment hung: a step or reset took over {self._env_timeout_s:g} s")

    def _receive(self, slot: Slot) -> None:
        try:
            message = _worker(slot).receive()
        except WorkerLostError as error:
            self._lose(slot, str(error))
            return
        if isinstance(message, Exception):
            raise message
        if not isinstance(message, Call):
            result, recording = message
            # The environment's process loads no libraries of the policy.
            result = replace(result, versions=join_versions(versions(), result.versions))
            self._finished[slot.number], slot.job = (result, recording), None
        elif message.method == "act":
            slot.call = message
        else:
            slot.answer(self._answer(message))

    def _lose(self, slot: Slot, error: str) -> None:
        """Count the episode as an error and make room for a new worker."""
        assert slot.job is not None, "only running episodes are lost"
        policy = self._runner.policy
        result = failed_episode(
            slot.job.variant,
            slot.job.seed,
            error,
            policy_name=self._runner.policy_name,
            checkpoint_sha256=None if policy is None else policy.checkpoint_sha256,
        )
        self._finished[slot.number] = (result, None)
        slot.close()

    def _act(self) -> None:
        """A chunk for every episode that waits for one; calls with the same options share a batch."""
        waiting = [slot for slot in self._running() if slot.call is not None]
        batches: dict[str, list[Slot]] = {}
        for slot in sorted(waiting, key=lambda slot: slot.number):
            batches.setdefault(_batch_key(slot), []).append(slot)
        for batch in batches.values():
            for slot, value in zip(batch, self._act_batch([_call_of(slot) for slot in batch]), strict=True):
                slot.answer(value)

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


def elsewhere(runner: EpisodeRunner) -> tuple[EpisodeRunner, PolicyFacts | None]:
    """What a worker needs of a runner: the runner without its policy, and facts about the policy."""
    policy = runner.policy
    if policy is None:
        return runner, None
    facts = PolicyFacts(policy.robot_spec, policy.checkpoint_sha256, observes_images(policy))
    return replace(runner, policy=None), facts


def _worker(slot: Slot) -> Worker:
    assert slot.worker is not None, "it runs a job"
    return slot.worker


def _call_of(slot: Slot) -> Call:
    assert slot.call is not None, "it waits for the policy"
    return slot.call


def _batch_key(slot: Slot) -> str:
    """Equal for calls that may share a batch: options that are plain values; arrays belong to their own episode."""
    options = _call_of(slot).options
    if any(isinstance(value, np.ndarray) for value in options.values()):
        return str(slot.number)
    return repr(sorted(options.items()))
