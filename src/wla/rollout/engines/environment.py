"""Where an environment runs: episodes run here, calls of the policy are answered by the process that it acts in."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32

from wla.rollout.episode import EpisodeError
from wla.rollout.results import TaskVariant
from wla.rollout.runner import Build, EpisodeRunner
from wla.specs import RobotSpec
from wla.types import ActionChunk, BasePolicy, Env, Observation, Policy

IDLE = 0.0
"""Value of the clock while no step or reset is running."""


class Clock(Protocol):
    """A number that others read, too. value: monotonic seconds at which a step or reset began, or `IDLE`."""

    value: float


@dataclass(frozen=True)
class Call:
    """A call of a method of the policy."""

    method: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """The policy raised an exception: the line that describes it."""

    line: str


@dataclass(frozen=True)
class PolicyFacts:
    """What an environment knows of a policy elsewhere."""

    robot_spec: RobotSpec
    checkpoint_sha256: str | None
    observes_images: bool


class ConnectedPolicy(BasePolicy[Any]):
    """The policy at the other end of a connection."""

    def __init__(self, connection: Connection, facts: PolicyFacts) -> None:
        self._connection, self.robot_spec = connection, facts.robot_spec
        self.checkpoint_sha256, self.reads_past_images = facts.checkpoint_sha256, facts.observes_images

    def reset(self, instruction: str, *, seed: int = 0) -> Any:
        return self._call("reset", instruction, seed=seed)

    def act(self, observation: Observation, state: Any, **options: Any) -> tuple[ActionChunk, Any]:
        return self._call("act", observation, state, **options)

    def observe(self, observation: Observation, state: Any) -> Any:
        return self._call("observe", observation, state)

    def with_memory(self, state: Any, memory: Sequence[str], window: Sequence[str]) -> Any:
        return self._call("with_memory", state, memory, window)

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        self._connection.send(Call(method, arguments, options))
        answer = self._connection.recv()
        if isinstance(answer, Failure):
            raise EpisodeError(answer.line)
        return answer


@dataclass
class WatchedBuild:
    """Builds environments whose resets and steps, like the building itself, are timed by a clock that both see."""

    build: Build
    clock: Clock

    def __call__(self, variant: TaskVariant, policy: Policy | None) -> tuple[Env, Policy]:
        self.clock.value = time.monotonic()
        try:
            env, acting = self.build(variant, policy)
        finally:
            self.clock.value = IDLE
        return WatchedEnv(env, self.clock), acting


class WatchedEnv:
    """An environment that writes into the clock when a reset or step began."""

    def __init__(self, env: Env, clock: Clock) -> None:
        self._env, self._clock = env, clock

    @property
    def robot_spec(self) -> RobotSpec:
        return self._env.robot_spec

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        self._clock.value = time.monotonic()
        try:
            return self._env.reset(seed=seed, options=options)
        finally:
            self._clock.value = IDLE

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        self._clock.value = time.monotonic()
        try:
            return self._env.step(action)
        finally:
            self._clock.value = IDLE

    def close(self) -> None:
        self._env.close()

    @property
    def images_wanted(self) -> bool:
        return getattr(self._env, "images_wanted", True)

    @images_wanted.setter
    def images_wanted(self, wanted: bool) -> None:
        if hasattr(self._env, "images_wanted"):
            self._env.images_wanted = wanted


def serve_jobs(connection: Connection, clock: Clock, runner: EpisodeRunner, facts: PolicyFacts | None) -> None:
    """Run the jobs that come through the connection. facts: of the policy; None without one.

    An error of the user's (a `ValueError` or `OSError` outside the episode) is sent instead of an episode.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software renderer: the processes share the cores already
    policy = None if facts is None else ConnectedPolicy(connection, facts)
    runner = replace(runner, build=WatchedBuild(runner.build, clock), policy=policy)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            connection.send(runner.run(job))
        except (ValueError, OSError, ModuleNotFoundError) as error:
            connection.send(error)
