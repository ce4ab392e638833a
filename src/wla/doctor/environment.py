"""`wla doctor env`: an environment compared with recorded episodes, or with what it states of itself.

The mistakes that it looks for have cost evaluations of others 14 to 100 points of success: turned images, a state in
another order or from another source, the other quaternion of a rotation, a seed that is not passed on, the gripper's
sign, and statistics of another kind than those trained with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import Field

from wla.config import Config
from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.doctor.finding import Finding
from wla.doctor.image_checks import check_frames, check_starts
from wla.doctor.other_checks import check_gripper, check_motion, check_spec, check_statistics, check_success
from wla.doctor.state_checks import check_rotations, check_state
from wla.doctor.trajectories import Trajectory, recorded, replay, run, run_policy
from wla.envs.registry import load_family, make_env
from wla.files import read_json
from wla.rollout.build import make_variants
from wla.rollout.episode import EpisodeError, episode_errors
from wla.rollout.results import TaskVariant, read_results
from wla.types import Env, Policy

FORMAT_KEYS = {"state": "observation.state", "action": "action"}


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
    if dataset is not None:
        yield None, statistics_findings(dataset)
        chosen = _episodes_of(dataset, variants, config.episodes)
        variants = [variant for variant in variants if variant in chosen]
    for variant in variants:
        env, expert = _open(variant)
        with closing(env):
            recordings = [] if dataset is None else [recorded(dataset, each) for each in chosen[variant]]
            problem = None if dataset is None else _other_robot(env, dataset)
            if problem is not None:
                yield variant, [problem]
                continue
            try:
                with episode_errors():
                    findings = examine(env, expert, recordings, config.episodes)
            except EpisodeError as error:
                findings = [Finding("run", f"the environment fails: {error}", False)]
            yield variant, findings


def examine(env: Env, expert: Policy[Any] | None, recordings: Sequence[Trajectory], episodes: int) -> list[Finding]:
    """All that is found about one environment; recordings: episodes of it, or none."""
    mismatch = check_spec(env)
    if mismatch is not None:
        return [mismatch]
    replayed = replay(env, recordings)
    paired = [each for each in recordings if each.seed is not None]
    seeds = [each.seed for each in paired if each.seed is not None][:episodes] or list(range(10_000, 10_000 + episodes))
    own = [] if replayed or expert is None else [run_policy(env, expert, seed) for seed in seeds]
    starts = replayed or own or [_start(env, seed) for seed in seeds]
    again = _start(env, seeds[0])
    others = starts[1:] if len(starts) > 2 else [*starts[1:], *(_start(env, seeds[0] + step) for step in (1, 2))]
    names = env.robot_spec.observation.state_names
    start = check_starts(starts[0], again, others, paired, replayed)
    frames = check_frames(recordings, starts)
    if start.ok is False:  # other episodes than the recorded ones tell nothing more
        paired = replayed = []
    gripper, closes = check_gripper(env, seeds[0], paired, replayed)
    rotations, turned = check_rotations(names, paired, replayed)
    return [
        *frames,
        start,
        check_state(names, paired, replayed, closes | turned),
        *rotations,
        check_motion(env, seeds[0]),
        gripper,
        check_success(paired, replayed, own),
    ]


def statistics_findings(dataset: LeRobotDataset) -> list[Finding]:
    """Whether the statistics that a dataset states, with which others normalise, are those of its frames."""
    path = dataset.root / "meta/stats.json"
    if not path.is_file():
        return [Finding("statistics", "the dataset states none (meta/stats.json)", None)]
    tree = read_json(path, missing="")
    rows = {"state": dataset.state, "action": dataset.actions}
    findings = []
    for name, key in FORMAT_KEYS.items():
        stated, values = tree.get(key), rows[name]
        if values is not None and isinstance(stated, dict) and {"min", "max"} <= stated.keys():
            findings.append(check_statistics(f"{name} in {path.name}", stated, values))
    return findings


def _episodes_of(
    dataset: LeRobotDataset, variants: Sequence[TaskVariant], episodes: int
) -> dict[TaskVariant, list[Episode]]:
    """The first episodes of each variant, as collect.jsonl tells them apart; of a single variant without that file.

    ValueError where several tasks are asked for, and nothing tells which episodes are theirs.
    """
    lines = read_results(dataset.root / "collect.jsonl")
    variant_of = {(line.seed, line.instruction): line.variant for line in lines}
    if not lines and len(variants) > 1:
        raise ValueError(
            f"{dataset.root}: nothing tells the task of its episodes; name the one that was recorded: --tasks NAME"
        )
    found: dict[TaskVariant, list[Episode]] = {}
    for episode in dataset.episodes:
        variant = variant_of.get((episode.seed or 0, episode.instruction)) if lines else variants[0]
        if variant is not None and variant in variants and len(found.setdefault(variant, [])) < episodes:
            found[variant].append(episode)
    if not found:
        asked = ", ".join(dict.fromkeys(variant.task for variant in variants))
        raise ValueError(f"{dataset.root}: holds no episodes of {asked}, in this setting and on this robot")
    return found


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


def _start(env: Env, seed: int) -> Trajectory:
    return run(env, seed, lambda step, observation: None)
