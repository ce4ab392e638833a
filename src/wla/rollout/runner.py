"""One environment that runs episodes one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wla.policy.wrapper import PolicyWrapper
from wla.rollout.dagger import ExpertRelabelRecorder, MixturePolicy
from wla.rollout.episode import run_episode
from wla.rollout.recording import Recording
from wla.rollout.results import EpisodeResult, TaskVariant
from wla.types import ActionChunk, Env, Observation, Policy, Recorder

Episode = tuple[EpisodeResult, Recording | None]
Build = Callable[[TaskVariant, Policy | None], tuple[Env, Policy]]


@dataclass(frozen=True)
class Job:
    """One episode to run. record: keep its steps, with their images unless `images` is False. policy_seed: seed of the
    policy's noise; None for `seed`."""

    variant: TaskVariant
    seed: int
    record: bool
    policy_seed: int | None = None
    images: bool = True


@dataclass
class EpisodeRunner:
    """Runs jobs one after the other and keeps the environment of the current variant.

    build: the environment of a variant and the policy that acts in it, often `policy` itself or a wrapper around it;
    for other processes it has to pickle (a module-level function, or a partial of one). policy: loaded once, shared by
    all environments; None for scripted ones. imagine: recorded episodes ask the policy for subgoal images.
    """

    build: Build
    policy_name: str
    policy: Policy | None = None
    replan_steps: int | None = None
    imagine: bool = False
    _variant: TaskVariant | None = field(default=None, init=False)
    _env: Env | None = field(default=None, init=False)
    _policy: Policy | None = field(default=None, init=False)

    def run(self, job: Job) -> Episode:
        env, policy = self._ready(job.variant)
        recording = Recording(env.robot_spec, reads_images=job.images) if job.record else None
        acting = ImaginingPolicy(policy) if self.imagine and job.record else policy
        result = run_episode(
            env,
            TimedPolicy(acting, recording) if recording else acting,
            job.seed,
            variant=job.variant,
            policy_name=self.policy_name,
            policy_seed=job.policy_seed,
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
            self._env, self._policy = self.build(variant, self.policy)
            self._variant = variant
        return self._env, self._policy


def _recorder_for(recording: Recording, policy: Policy) -> Recorder:
    labelled = isinstance(policy, MixturePolicy) and policy.relabels
    return ExpertRelabelRecorder(recording) if labelled else recording


class TimedPolicy(PolicyWrapper):
    """A policy whose calls are timed for a recording: as long as an episode waits for its chunk, which includes other
    episodes of the same batch."""

    def __init__(self, policy: Policy, recording: Recording) -> None:
        super().__init__(policy)
        self._recording = recording

    def act(self, observation: Observation, state: Any, **options: Any) -> tuple[ActionChunk, Any]:
        start = time.perf_counter()
        answer = self.policy.act(observation, state, **options)
        self._recording.latencies.append(time.perf_counter() - start)
        return answer


class ImaginingPolicy(PolicyWrapper):
    """A policy that is asked for the subgoal image at every call."""

    def act(self, observation: Observation, state: Any, **options: Any) -> tuple[ActionChunk, Any]:
        return self.policy.act(observation, state, **{**options, "imagine": True})
