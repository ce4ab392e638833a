"""`wla doctor env`: an environment compared with recorded episodes, or with what it states of itself.

The mistakes that it looks for have cost evaluations of others 14 to 100 points of success: turned images, a state in
another order or from another source, the other quaternion of a rotation, a seed that is not passed on, the gripper's
sign, and statistics of another kind than those trained with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.doctor.examine import examine
from wla.doctor.finding import Finding
from wla.doctor.recordings import recordings_of, statistics_findings
from wla.doctor.trajectories import Trajectory
from wla.envs.registry import load_family
from wla.rollout.build import make_variants, open_env
from wla.rollout.episode import EpisodeError, episode_errors
from wla.types import Env

if TYPE_CHECKING:
    from wla.doctor.policy_checks import CheckedPolicy


class EnvCheckConfig(Config):
    """What is compared. dataset: None where nothing was recorded. policy: a checkpoint that is to act there."""

    env: str
    tasks: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    embodiment: str | None = None
    protocol: str | None = None
    dataset: Path | None = None
    policy: str | None = None
    episodes: int = Field(default=3, ge=1)


def check_environment(config: EnvCheckConfig) -> Iterator[tuple[str, list[Finding]]]:
    """What was looked at, and the findings about it: the dataset, each task in each setting, the policy."""
    variants = make_variants(config)
    policy = None if config.policy is None else _policy(config.policy)
    dataset = None if config.dataset is None else LeRobotDataset(config.dataset)
    recordings = {} if dataset is None else recordings_of(dataset, variants, config.episodes)
    if dataset is not None:
        yield str(dataset.root), statistics_findings(dataset)
        variants = [variant for variant in variants if variant in recordings]
    shown: list[Trajectory] = []
    for variant in variants:
        env = open_env(variant)
        heading = f"{variant.task} {variant.setting} {variant.embodiment}"
        with closing(env):
            robot = env.robot_spec
            problem = None if dataset is None else _other_robot(env, dataset)
            if problem is not None:
                yield heading, [problem]
                continue
            try:
                with episode_errors():
                    expert = load_family(variant.env).make_expert(env)
                    findings, episodes = examine(env, expert, recordings.get(variant, []), config.episodes)
            except EpisodeError as error:
                findings, episodes = [Finding("run", f"the environment fails: {error}", False)], []
            shown += episodes
            yield heading, findings
    if policy is not None:
        yield policy.name, policy.check(robot, shown)


def _policy(name: str) -> CheckedPolicy:
    from wla.doctor.policy_checks import CheckedPolicy  # which loads torch

    return CheckedPolicy.load(name)


def _other_robot(env: Env, dataset: LeRobotDataset) -> Finding | None:
    if dataset.robot_spec is None:
        return None
    try:
        env.robot_spec.require_equal(dataset.robot_spec, ours="the environment", theirs=str(dataset.root))
    except ValueError as error:
        return Finding("robot", str(error), False)
    return None
