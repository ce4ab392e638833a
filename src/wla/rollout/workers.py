"""Episodes spread over processes. Results come back in the order of the jobs, whatever the number of workers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import torch

from wla.process_pool import submit, worker_pool
from wla.rollout.dagger import ExpertRelabelRecorder, MixturePolicy
from wla.rollout.episode import rollout
from wla.rollout.recording import Recording
from wla.rollout.results import EpisodeResult, TaskVariant
from wla.types import ActionChunk, Env, Observation, ObservingPolicy, Policy, Recorder

Episode = tuple[EpisodeResult, Recording | None]


@dataclass(frozen=True)
class Job:
    """One episode to run; record keeps what happened in it."""

    variant: TaskVariant
    seed: int
    record: bool


@dataclass
class Worker:
    """Runs jobs one after the other and keeps the environment and policy of the current case.

    build: makes both for a case; it has to pickle (a module-level function, or a partial of one) when there is more
    than one worker. imagine: recorded episodes ask the policy for imagined subgoals.
    """

    build: Callable[[TaskVariant], tuple[Env, Policy]]
    policy_name: str
    replan_steps: int | None = None
    imagine: bool = False
    _variant: TaskVariant | None = field(default=None, init=False)
    _env: Env | None = field(default=None, init=False)
    _policy: Policy | None = field(default=None, init=False)

    def run(self, job: Job) -> Episode:
        env, policy = self._ready(job.variant)
        recording = Recording(env.robot_spec) if job.record else None
        result = rollout(
            env,
            ImaginingPolicy(policy) if self.imagine and job.record else policy,
            job.seed,
            variant=job.variant,
            policy_name=self.policy_name,
            recorders=[_recorder_for(recording, policy)] if recording else [],
            replan_steps=self.replan_steps,
        )
        # An episode whose reset crashed has nothing to show.
        return result, recording if recording and recording.last is not None else None

    def close(self) -> None:
        if self._env is not None:
            self._env.close()
        self._variant = self._env = self._policy = None

    def _ready(self, variant: TaskVariant) -> tuple[Env, Policy]:
        if self._env is None or self._policy is None or variant != self._variant:
            self.close()
            self._env, self._policy = self.build(variant)
            self._variant = variant
        return self._env, self._policy


def _recorder_for(recording: Recording, policy: Policy) -> Recorder:
    return (
        ExpertRelabelRecorder(recording, policy.expert)
        if isinstance(policy, MixturePolicy) and policy.relabels
        else recording
    )


class ImaginingPolicy:
    """A policy that is asked for the imagined subgoal image at every call."""

    def __init__(self, policy: Any) -> None:
        self._policy = policy
        self.robot_spec = getattr(policy, "robot_spec", None)
        self.checkpoint_sha256 = getattr(policy, "checkpoint_sha256", None)

    def reset(self, instruction: str, *, seed: int = 0) -> Any:
        return self._policy.reset(instruction, seed=seed)

    def act(self, observation: Observation, state: Any) -> tuple[ActionChunk, Any]:
        return self._policy.act(observation, state, imagine=True)

    def observe(self, observation: Observation, state: Any) -> Any:
        return self._policy.observe(observation, state) if isinstance(self._policy, ObservingPolicy) else state


def run_jobs(jobs: Iterable[Job], worker: Worker, workers: int) -> Generator[Episode]:
    """Run the jobs, in this process when workers is 1, else in that many new ones; yields episodes in order.

    jobs is read lazily, a few ahead of the episodes that were yielded. Closing the iterator or KeyboardInterrupt drops
    the episodes in progress. ChildProcessError when a worker process died.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    if workers == 1:
        try:
            yield from map(worker.run, jobs)
        finally:
            worker.close()
    else:
        yield from _run_in_processes(jobs, worker, workers)


def _run_in_processes(jobs: Iterable[Job], worker: Worker, workers: int) -> Generator[Episode]:
    pending: deque[Future[Episode]] = deque()
    threads = max(1, torch.get_num_threads() // workers)
    with worker_pool(workers, _start_worker, (worker, threads)) as pool:
        for job in jobs:
            pending.append(submit(pool, _run_in_worker, job))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


_worker: Worker | None = None


def _start_worker(worker: Worker, threads: int) -> None:
    global _worker
    torch.set_num_threads(threads)
    _worker = worker


def _run_in_worker(job: Job) -> Episode:
    assert _worker is not None, "the pool's initializer sets the worker"
    return _worker.run(job)
