"""`wla doctor env`: an environment compared with recorded episodes, or with what it states of itself.

The mistakes that it looks for have cost evaluations of others 14 to 100 points of success: turned images, a state in
another order or from another source, the other quaternion of a rotation, a seed that is not passed on, the gripper's
sign, and statistics of another kind than those trained with.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import Field

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.doctor.examine import examine
from wla.doctor.finding import Finding
from wla.doctor.recordings import recordings_of, statistics_findings
from wla.envs.registry import load_family, make_env
from wla.rollout.build import make_variants
from wla.rollout.episode import EpisodeError, episode_errors
from wla.rollout.results import TaskVariant
from wla.types import Env, Policy


class EnvCheckConfig(Config):
    """What is compared. dataset: None where nothing was recorded."""

    env: str
    tasks: tuple[str, ...] = ()
    setting: tuple[str, ...] = ()
    embodiment: str | None = None
    protocol: str | None = None
    dataset: Path | None = None
    episodes: int = Field(default=3, ge=1)


def check_environment(config: EnvCheckConfig) -> Iterator[tuple[TaskVariant | None, list[Finding]]]:
    """The findings about the dataset (for None), and about each task in each setting."""
    variants = make_variants(config)
    dataset = None if config.dataset is None else LeRobotDataset(config.dataset)
    recordings = {} if dataset is None else recordings_of(dataset, variants, config.episodes)
    if dataset is not None:
        yield None, statistics_findings(dataset)
        variants = [variant for variant in variants if variant in recordings]
    for variant in variants:
        env, expert = _open(variant)
        with closing(env):
            problem = None if dataset is None else _other_robot(env, dataset)
            if problem is not None:
                yield variant, [problem]
                continue
            try:
                with episode_errors():
                    findings = examine(env, expert, recordings.get(variant, []), config.episodes)
            except EpisodeError as error:
                findings = [Finding("run", f"the environment fails: {error}", False)]
            yield variant, findings


def _open(variant: TaskVariant) -> tuple[Env, Policy[Any] | None]:
    env = make_env(
        variant.env,
        task=variant.task,
        setting=variant.setting,
        embodiment=variant.embodiment,
        protocol=variant.protocol,
    )
    return env, load_family(variant.env).make_expert(env)


def _other_robot(env: Env, dataset: LeRobotDataset) -> Finding | None:
    if dataset.robot_spec is None:
        return None
    try:
        env.robot_spec.require_equal(dataset.robot_spec, ours="the environment", theirs=str(dataset.root))
    except ValueError as error:
        return Finding("robot", str(error), False)
    return None
