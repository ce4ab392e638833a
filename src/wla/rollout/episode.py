"""The only episode loop: collecting, evaluating and demonstrating all run episodes through `rollout`."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from wla.rollout.results import EpisodeResult, TaskVariant
from wla.rollout.subtask_metrics import SubtaskMetrics
from wla.rollout.versions import versions
from wla.specs import RobotSpec
from wla.types import ActionChunk, Env, MemoryItem, Observation, ObservingPolicy, Outcome, Policy, PolicyState, Recorder


def rollout(
    env: Env,
    policy: Policy,
    seed: int,
    *,
    variant: TaskVariant,
    policy_name: str,
    recorders: Sequence[Recorder] = (),
    replan_steps: int | None = None,
) -> EpisodeResult:
    """Run one episode from ``env.reset(seed=seed)`` until the environment ends it.

    execute: how many actions of each chunk are run before the policy acts again; None leaves it to the chunk. case and
    policy_name only label the result.

    An exception inside the environment or the policy, or an action that does not fit the robot, makes the outcome
    "error": that is no failed episode. Exceptions of recorders (a full disk) and KeyboardInterrupt pass through.
    ValueError before the first step when the policy was made for another robot.
    """
    if replan_steps is not None and replan_steps < 1:
        raise ValueError(f"execute is how many actions of each chunk are run: at least 1, not {replan_steps}")
    require_same_robot(env, policy, policy_name)

    observation: Observation | None = None
    instruction, steps, subtasks = "", 0, list[tuple[int, str]]()
    outcome: Outcome | None = None
    error: str | None = None
    subtask_metrics = SubtaskMetrics()
    try:
        with _crashes():
            raw, info = env.reset(seed=seed)
            observation, instruction = Observation(**raw), info["instruction"]
            subtask_metrics.add_label(info.get("subtask"))
        for recorder in recorders:
            recorder.start(seed, instruction)
        with _crashes():
            state = policy.reset(instruction, seed=seed)
        while outcome is None:
            with _crashes():
                chunk, state = policy.act(observation, state)
                _require_usable(chunk, env.robot_spec)
            said = ", then ".join(chunk.subtasks)
            if said and (not subtasks or subtasks[-1][1] != said):
                subtasks.append((steps, said))
            subtask_metrics.add_prediction(
                steps, chunk.subtasks, len(chunk.actions) if len(chunk.actions) > 1 else 0, _memory(state)
            )
            actions = chunk.actions[: replan_steps or chunk.replan_steps]
            for offset, action in enumerate(actions):
                for recorder in recorders:
                    recorder.step(observation, action, chunk, offset)
                with _crashes():
                    raw, _, terminated, truncated, info = env.step(action)
                    observation, success = Observation(**raw), bool(info["success"])
                    subtask_metrics.add_label(info.get("subtask"))
                steps += 1
                if terminated or truncated:
                    outcome = "success" if success else "failure"
                    break
                if isinstance(policy, ObservingPolicy) and offset + 1 < len(actions):
                    with _crashes():
                        state = policy.observe(observation, state)
    except _Crash as crash:
        outcome, error = "error", str(crash)
    if observation is not None:
        for recorder in recorders:
            recorder.end(observation, outcome)

    return EpisodeResult(
        env=variant.env,
        task=variant.task,
        setting=variant.setting,
        embodiment=variant.embodiment,
        instruction=instruction,
        seed=seed,
        outcome=outcome,
        error=error,
        steps=steps,
        policy=policy_name,
        checkpoint_sha256=getattr(policy, "checkpoint_sha256", None),
        subtasks=tuple(subtasks),
        memory=tuple(subtask_metrics.memory),
        subtask_metrics=subtask_metrics.score(),
        versions=versions(),
    )


def _memory(state: object) -> Sequence[MemoryItem]:
    return state.memory if isinstance(state, PolicyState) else ()


def require_same_robot(env: Env, policy: Policy, policy_name: str) -> None:
    """ValueError when the policy says which robot it was made for and the environment has another one."""
    spec: RobotSpec | None = getattr(policy, "robot_spec", None)
    if spec is not None:
        spec.require_equal(env.robot_spec, ours=f"policy {policy_name}", theirs="the environment")


class _Crash(Exception):
    """An exception of the environment or the policy, as one line that says what and where."""


@contextmanager
def _crashes() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        message = str(error).strip().partition("\n")[0]
        raise _Crash(f"{type(error).__name__}: {message} ({Path(place.filename).name}:{place.lineno})") from error


def _require_usable(chunk: ActionChunk, spec: RobotSpec) -> None:
    shape = chunk.actions.shape
    if len(shape) != 2 or shape[0] < 1 or shape[1] != spec.action.dim:
        raise ValueError(f"the policy's actions have shape {shape}, but the robot needs (n, {spec.action.dim}), n >= 1")
    if chunk.replan_steps is not None and chunk.replan_steps < 1:
        raise ValueError(f"the policy wants {chunk.replan_steps} actions of its chunk to be run; at least 1 is needed")
    if not np.isfinite(chunk.actions).all():
        raise ValueError("the policy's actions are not all finite")
