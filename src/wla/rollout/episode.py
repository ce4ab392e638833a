"""The only episode loop: collecting, evaluating and demonstrating all run episodes through `run_episode`."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from wla.control.plan import require_usable
from wla.control.timing_metrics import TimingMetrics
from wla.policy.wrapper import observes_images
from wla.rollout.results import EpisodeResult, TaskVariant
from wla.rollout.subtask_metrics import TOLERANCE_S, SubtaskMetrics
from wla.rollout.versions import versions
from wla.texts import encodable
from wla.types import ActionChunk, Env, MemoryItem, Observation, Outcome, Policy, PolicyState, Recorder, StepResult


def run_episode(
    env: Env,
    policy: Policy,
    seed: int,
    *,
    variant: TaskVariant,
    policy_name: str,
    policy_seed: int | None = None,
    recorders: Sequence[Recorder] = (),
    replan_steps: int | None = None,
) -> EpisodeResult:
    """Run one episode from ``env.reset(seed=seed)`` until the environment ends it.

    policy_seed: seed of the policy's noise; None for that of the environment. replan_steps: how many actions of each
    chunk are executed before the policy acts again; None leaves it to the chunk. variant and policy_name only label
    the result.

    An exception inside the environment or the policy, or an action that does not fit the robot, makes the outcome
    "error": that is no failed episode. Exceptions of recorders (a full disk) and KeyboardInterrupt pass through.
    ValueError before the first step when the policy was made for another robot.
    """
    if replan_steps is not None and replan_steps < 1:
        raise ValueError(f"replan_steps is how many actions of each chunk are executed: at least 1, not {replan_steps}")
    policy.robot_spec.require_equal(env.robot_spec, ours=f"policy {policy_name}", theirs="the environment")
    episode = _Episode(env, policy, recorders, replan_steps)
    outcome, error = episode.run(seed, seed if policy_seed is None else policy_seed)
    return EpisodeResult(
        **asdict(variant),
        instruction=episode.instruction,
        seed=seed,
        outcome=outcome,
        error=error,
        steps=episode.steps,
        policy=policy_name,
        checkpoint_sha256=policy.checkpoint_sha256,
        subtasks=tuple(episode.subtasks),
        memory=tuple((step, encodable(item.text)) for step, item in episode.metrics.memory),
        subtask_metrics=episode.metrics.score(),
        versions=versions(),
        timing=episode.timing.score(),
        held=episode.held,
    )


class _Episode:
    """An episode in progress."""

    def __init__(self, env: Env, policy: Policy, recorders: Sequence[Recorder], replan_steps: int | None) -> None:
        self._env, self._policy, self._recorders, self._replan_steps = env, policy, recorders, replan_steps
        self._observation: Observation | None = None
        recorded = any(getattr(recorder, "reads_images", True) for recorder in recorders)
        self._seen_between = recorded or observes_images(policy)
        self._acts_on_images = getattr(policy, "reads_images", True)
        self.instruction, self.steps = "", 0
        self.held: bool | None = None
        self.subtasks: list[tuple[int, str]] = []
        self.timing = TimingMetrics(env.robot_spec.action)
        self.metrics = SubtaskMetrics(tolerance=round(TOLERANCE_S * env.robot_spec.action.rate_hz))

    def run(self, seed: int, policy_seed: int) -> tuple[Outcome, str | None]:
        """The outcome, and one line about the error if it is one."""
        outcome: Outcome | None = None
        error = None
        try:
            state = self._reset(seed, policy_seed)
            while outcome is None:
                with episode_errors():
                    chunk, state = self._policy.act(self._require_observation(), state)
                    require_usable(chunk, self._env.robot_spec)
                    chunk = _encodable(chunk)
                self._note_subtasks(chunk, state)
                outcome, state = self._execute(chunk, state)
        except EpisodeError as crash:
            outcome, error = "error", str(crash)
        if self._observation is not None:
            for recorder in self._recorders:
                recorder.end(self._observation, outcome)
        return outcome, error

    def _reset(self, seed: int, policy_seed: int) -> Any:
        with episode_errors():
            raw, info = self._env.reset(seed=seed)
            self._observation, self.instruction = Observation(**raw), encodable(info["instruction"])
            self.metrics.add_label(info.get("subtask"))
        for recorder in self._recorders:
            recorder.start(seed, self.instruction)
        with episode_errors():
            return self._policy.reset(self.instruction, seed=policy_seed)

    def _execute(self, chunk: ActionChunk, state: Any) -> tuple[Outcome | None, Any]:
        """The outcome if the episode ends within the chunk, and the policy's state after it."""
        actions = chunk.actions[: self._replan_steps or chunk.replan_steps]
        for offset, action in enumerate(actions):
            before = self._require_observation()
            try:
                with episode_errors():
                    acts_next = self._acts_on_images and offset + 1 == len(actions)
                    result = self._step(action, wanted=self._seen_between or acts_next)
            except EpisodeError:
                self._record(before, action, chunk, offset, None)
                raise
            self._record(before, action, chunk, offset, result)
            self.timing.add(action, chunk.timing)
            self.steps += 1
            if result.terminated or result.truncated:
                return ("success" if result.success else "failure"), state
            if offset + 1 < len(actions):
                with episode_errors():
                    state = self._policy.observe(self._require_observation(), state)
        return None, state

    def _step(self, action: np.ndarray, *, wanted: bool) -> StepResult:
        """wanted: whether anybody looks at the images after it."""
        if hasattr(self._env, "images_wanted"):
            self._env.images_wanted = wanted
        raw, reward, terminated, truncated, info = self._env.step(action)
        self._observation, success = Observation(**raw), bool(info["success"])
        self.held = bool(info["held"]) if "held" in info else None
        self.metrics.add_label(info.get("subtask"))
        expert = None
        if "expert_action" in info:
            expert = ActionChunk(info["expert_action"][None], (encodable(info["expert_subtask"]),))
        return StepResult(float(reward), bool(terminated), bool(truncated), success, expert)

    def _record(
        self, observation: Observation, action: np.ndarray, chunk: ActionChunk, offset: int, result: StepResult | None
    ) -> None:
        for recorder in self._recorders:
            recorder.step(observation, action, chunk, offset, result)

    def _note_subtasks(self, chunk: ActionChunk, state: Any) -> None:
        text = ", then ".join(chunk.subtasks)
        if text and (not self.subtasks or self.subtasks[-1][1] != text):
            self.subtasks.append((self.steps, text))
        horizon = len(chunk.actions) if len(chunk.actions) > 1 else 0
        self.metrics.add_prediction(self.steps, chunk.subtasks, horizon, _memory(state))

    def _require_observation(self) -> Observation:
        assert self._observation is not None, "the environment has been reset"
        return self._observation


def failed_episode(
    variant: TaskVariant, seed: int, error: str, *, policy_name: str, checkpoint_sha256: str | None
) -> EpisodeResult:
    """The result of an episode whose process ended without one: an error, never a failure. Its steps are lost."""
    return EpisodeResult(
        **asdict(variant),
        instruction="",
        seed=seed,
        outcome="error",
        error=error,
        steps=0,
        policy=policy_name,
        checkpoint_sha256=checkpoint_sha256,
        subtasks=(),
        memory=(),
        subtask_metrics=None,
        versions=versions(),
    )


class EpisodeError(Exception):
    """An exception of the environment or the policy, as one line with its kind, message, file and line."""


@contextmanager
def episode_errors() -> Iterator[None]:
    """Turns whatever is raised inside into an `EpisodeError`."""
    try:
        yield
    except EpisodeError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = str(error).strip().partition("\n")[0]
        line = f"{type(error).__name__}: {message} ({Path(place.filename).name}:{place.lineno})"
        raise EpisodeError(encodable(line)) from error


def _memory(state: object) -> Sequence[MemoryItem]:
    return state.memory if isinstance(state, PolicyState) else ()


def _encodable(chunk: ActionChunk) -> ActionChunk:
    return replace(chunk, subtasks=tuple(map(encodable, chunk.subtasks)))
