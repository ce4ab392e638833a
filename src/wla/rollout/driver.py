"""Episodes of many jobs, in this process or in environments elsewhere around one policy, in the order of the jobs."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Protocol

from wla.rollout.configs import EngineConfig
from wla.rollout.engines.processes import ProcessWorkers
from wla.rollout.engines.ray_actors import RayWorkers
from wla.rollout.engines.rounds import RoundEngine
from wla.rollout.runner import Episode, EpisodeRunner, Job


def run_jobs(jobs: Iterable[Job], runner: EpisodeRunner, config: EngineConfig | None = None) -> Generator[Episode]:
    """Run the jobs: in this process, or in environments elsewhere with one policy here (see `EngineConfig`).

    Yields episodes in the order of the jobs. jobs is read lazily, a few ahead of the episodes that were yielded.
    Closing the iterator or KeyboardInterrupt drops the episodes in progress. In this process nothing can end an
    environment that hangs; in another one, a step or reset of more than env_timeout_s seconds, or a crash of the
    process, makes its episode an error, and a new process takes over. Errors as for `build_engine`.

    The same command gives the same results. With num_envs above 1 a policy acts in batches, and a row of a batch may
    differ from acting alone by rounding (below 1e-5 of an action's range for the bundled policies), which a long
    episode can amplify.
    """
    engine = build_engine(runner, config or EngineConfig())
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


def build_engine(runner: EpisodeRunner, config: EngineConfig) -> Engine:
    """What `run_jobs` runs its jobs with, for whoever has further ones later. Errors as for `RayWorkers`."""
    if config.engine == "ray":
        workers = RayWorkers(runner, config.num_envs, config.address)
        return RoundEngine(runner, workers, config.num_envs, config.env_timeout_s)
    if config.num_envs == 1:
        return LocalEngine(runner)
    return RoundEngine(runner, ProcessWorkers(runner), config.num_envs, config.env_timeout_s)


class LocalEngine:
    """One environment in this process."""

    def __init__(self, runner: EpisodeRunner) -> None:
        self._runner = runner

    def run(self, jobs: Iterable[Job]) -> Iterator[Episode]:
        return map(self._runner.run, jobs)

    def close(self) -> None:
        self._runner.close()
