"""Rollouts: groups of episodes from the same seeds with different noise, and what the policy sampled in them."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float64

from wla.models.trajectory import ActionEncoding, Trajectory
from wla.policy import Checkpoint, WLAPolicy
from wla.rollout.build import build, make_variants, robot_of
from wla.rollout.driver import Engine, build_engine
from wla.rollout.recording import Recording
from wla.rollout.runner import EpisodeRunner, Job
from wla.training.rl.configs import RLTrainConfig
from wla.training.rl.exploration import ExploringPolicy
from wla.training.rl.jobs import group_jobs, validation_jobs
from wla.training.rl.trained import Trained


@dataclass(frozen=True)
class Rollout:
    """A finished episode. number: of its job among all. executed, rewards: of each call of the policy, how many actions
    of its chunk were executed, and the sum of the environment's rewards meanwhile."""

    number: int
    job: Job
    success: bool
    executed: list[int]
    rewards: list[float]

    def reward(self, config: RLTrainConfig) -> float:
        """The reward that the recipe has chosen."""
        return sum(self.call_rewards(config))

    def call_rewards(self, config: RLTrainConfig) -> list[float]:
        """That reward, of each call: success is the last one's."""
        if config.reward == "return":
            return self.rewards
        return [0.0] * (len(self.executed) - 1) + [float(self.success)]


@dataclass(frozen=True)
class Rollouts:
    """The episodes of an update, and a row of the samples for each call of theirs.

    rows: of each episode, the rows of its calls.
    """

    episodes: Sequence[Rollout]
    rows: Sequence[Sequence[int]]
    encoding: ActionEncoding
    trajectory: Trajectory

    @property
    def mean_steps(self) -> Float64[np.ndarray, " E"]:
        """Mean number of flow steps of each episode's calls."""
        steps = self.trajectory.num_steps.double().cpu().numpy()
        return np.array([steps[list(rows)].mean() for rows in self.rows])


class RolloutWorkers:
    """Environments around the policy in training, kept from one update to the next.

    ValueError for names that the environment does not have, and for a policy of another robot.
    """

    def __init__(self, config: RLTrainConfig, checkpoint: Checkpoint, device: torch.device, trained: Trained) -> None:
        self._config, self._variants = config, make_variants(config)
        robot = robot_of(self._variants[0])
        policy = WLAPolicy(checkpoint, name=config.policy, checkpoint_sha256="", device=str(device), robot=robot)
        policy.robot_spec.require_equal(robot, ours=f"policy {config.policy}", theirs=f"environment {config.env}")
        self._policy = ExploringPolicy(policy, config.objective.noise_level, trained.step_choice)
        runner = EpisodeRunner(partial(build, policy=config.policy), config.policy, self._policy)
        self._engine = build_engine(runner, config.engine)

    def explore(self, update: int) -> Rollouts:
        """The episodes of an update, with the policy exploring. ValueError as for `run_episodes`."""
        jobs = group_jobs(self._config, self._variants, update)
        with self._policy.exploring():
            episodes = run_episodes(self._engine, jobs, f"update {update + 1}")
            rows = [self._policy.rows(episode.job, len(episode.executed)) for episode in episodes]
            return Rollouts(episodes, rows, *self._policy.samples())

    def validate(self, flow_steps: int | None) -> list[Rollout]:
        """The episodes of a validation, with the policy acting as ever, in this number of flow steps (None: its own).
        ValueError as for `run_episodes`."""
        self._policy.policy.flow_steps = flow_steps
        return run_episodes(self._engine, validation_jobs(self._config, self._variants), "validation")

    def close(self) -> None:
        self._engine.close()


def run_episodes(engine: Engine, jobs: Sequence[Job], where: str) -> list[Rollout]:
    """Returns the finished episodes, each once, without errors: a line on stderr says how many these were, and why.

    where: beginning of that line. ValueError when most episodes are errors.
    """
    episodes, errors = [], []
    for number, (job, (result, recording)) in enumerate(zip(jobs, engine.run(jobs), strict=True)):
        error = result.error if recording is None else result.error or _reward_error(recording)
        if error is not None or recording is None:
            errors.append(f"{job.variant.task}, seed {job.seed}: {error}")
            continue
        episodes.append(Rollout(number, job, result.outcome == "success", *_of_calls(recording)))
    if errors:
        line = f"{where}: {len(errors)} of {len(jobs)} episodes are errors and left out; the first is {errors[0]}"
        if 2 * len(errors) > len(jobs):
            raise ValueError(f"{line}; too many to learn from: correct the environment or the policy")
        print(line, file=sys.stderr, flush=True)
    return episodes


def mean_reward(episodes: Sequence[Rollout], config: RLTrainConfig) -> float:
    """The reward of the mean episode."""
    return float(np.mean([episode.reward(config) for episode in episodes]))


def success_by_task(episodes: Iterable[Rollout]) -> dict[str, float]:
    """Metrics: the fraction of successes, over all and for each task where there are several."""
    outcomes: dict[str, list[bool]] = {}
    for episode in episodes:
        outcomes.setdefault(f"{episode.job.variant.task}/success", []).append(episode.success)
    every = [success for found in outcomes.values() for success in found]
    by_task = outcomes if len(outcomes) > 1 else {}
    return {name: float(np.mean(found)) for name, found in {"success": every, **by_task}.items()}


def _of_calls(recording: Recording) -> tuple[list[int], list[float]]:
    """Of each chunk, the number of executed actions and the sum of their rewards."""
    executed: list[int] = []
    rewards: list[float] = []
    for step in recording.steps:
        if step.offset == 0:
            executed.append(0)
            rewards.append(0.0)
        executed[-1] += 1
        rewards[-1] += 0.0 if step.result is None else step.result.reward
    return executed, rewards


def _reward_error(recording: Recording) -> str | None:
    for number, step in enumerate(recording.steps):
        if step.result is not None and not math.isfinite(step.result.reward):
            return f"the environment's reward is {step.result.reward} at step {number}"
    return None
