"""Episodes of many jobs, in this process or in environment processes around one policy, in the order of the jobs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

from wla.rollout.engines.processes import ProcessEngine
from wla.rollout.runner import Episode, EpisodeRunner, Job

ENV_TIMEOUT_S = 120.0
"""Seconds after which a step or reset of an environment in another process counts as hanging."""


def run_jobs(
    jobs: Iterable[Job], runner: EpisodeRunner, num_envs: int = 1, *, env_timeout_s: float = ENV_TIMEOUT_S
) -> Generator[Episode]:
    """Run the jobs: in this process when num_envs is 1, else in that many environment processes with one policy here.

    Yields episodes in the order of the jobs. jobs is read lazily, a few ahead of the episodes that were yielded.
    Closing the iterator or KeyboardInterrupt drops the episodes in progress. In this process nothing can end an
    environment that hangs; in another one, a step or reset of more than env_timeout_s seconds, or a crash of the
    process, makes its episode an error, and a new process takes over. ValueError for num_envs below 1.

    The same command gives the same results. With num_envs above 1 a policy acts in batches, and a row of a batch may
    differ from acting alone by rounding (below 1e-5 of an action's range for the bundled policies), which a long
    episode can amplify.
    """
    engine = build_engine(runner, num_envs, env_timeout_s=env_timeout_s)
    try:
        yield from engine.run(jobs)
    finally:
        engine.close()


class Engine(Protocol):
    """Environments that stay ready from some jobs to the next."""

    def run(self, jobs: Iterable[Job]) -> Iterator[Episode]:
        """Yields the episodes of the jobs, in their order; all of them are to be taken before the next jobs."""
        ...

    def close(self) -> None:
        """Ends the environments."""
        ...


def build_engine(runner: EpisodeRunner, num_envs: int, *, env_timeout_s: float = ENV_TIMEOUT_S) -> Engine:
    """What `run_jobs` runs its jobs with, for whoever has further ones later. ValueError for num_envs below 1."""
    if num_envs < 1:
        raise ValueError(f"num_envs must be at least 1, not {num_envs}")
    return LocalEngine(runner) if num_envs == 1 else ProcessEngine(runner, num_envs, env_timeout_s)


class LocalEngine:
    """One environment in this process."""

    def __init__(self, runner: EpisodeRunner) -> None:
        self._runner = runner

    def run(self, jobs: Iterable[Job]) -> Iterator[Episode]:
        return map(self._runner.run, jobs)

    def close(self) -> None:
        self._runner.close()
