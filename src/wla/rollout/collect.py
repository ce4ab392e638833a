"""Datasets from scripted experts: expert episodes through the episode loop into a LeRobot dataset, resumable.

Beside the dataset's own files the folder holds ``collect.jsonl``, one line per episode that was tried. Only successes
become part of the dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from wla import runtime
from wla.data.lerobot.recorder import DatasetRecorder
from wla.data.lerobot.writer import DatasetWriter
from wla.envs.registry import load_family
from wla.envs.seeds import require_seeds
from wla.files import disk_errors
from wla.rollout.build import action_labels, build_expert, make_variants, robot_of
from wla.rollout.configs import CollectConfig
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import EpisodeResult, TaskVariant, append_result, read_results, write_results
from wla.rollout.workers import Job, Worker, run_jobs
from wla.specs import RobotSpec
from wla.types import Outcome


def collect(config: CollectConfig, out: Path, *, workers: int = 1) -> Counter[str]:
    """Collect what `out` does not have yet; returns how many episodes had which outcome, earlier runs included.

    After KeyboardInterrupt or an exception the finished episodes are in the dataset, and the same call goes on.
    ValueError for seeds outside the split's range, unknown names, actions of tasks that are kept for videos, kicks that
    what was done would not show, a share of going astray without a policy, or a folder with something else in it.
    """
    family = load_family(config.env)
    require_seeds(config.seeds, config.split, family.seeds)
    variants = make_variants(config.env, config.tasks, config.setting, config.embodiment)
    kept = {variant.task for variant in variants} & set(family.video_tasks)
    if config.actions and kept:
        raise ValueError(f"{min(kept)} measures learning from videos: collect it with --no-actions")
    if config.random_fraction and config.policy is None:
        raise ValueError("--random-fraction is a share of what a policy does; add --policy")
    relabels = action_labels(config, variants[0]) == "expert"
    if config.perturb and config.action_labels == "executed":
        raise ValueError(
            "--action-labels executed: kicks would move the robot otherwise than recorded; add --no-perturb"
        )
    worker = Worker(
        partial(
            build_expert,
            perturb=config.perturb,
            policy=config.policy,
            expert_fraction=config.expert_fraction,
            random_fraction=config.random_fraction,
            relabels=relabels,
        ),
        config.policy or "expert",
    )
    robot_spec = robot_of(variants[0])
    keep: tuple[Outcome, ...] = ("success",) if config.policy is None else ("success", "failure")
    return record(variants, config.seeds, worker, robot_spec, out, workers=workers, actions=config.actions, keep=keep)


def record(
    variants: Sequence[TaskVariant],
    seeds: Sequence[int],
    worker: Worker,
    robot_spec: RobotSpec,
    out: Path,
    *,
    workers: int,
    actions: bool,
    keep: Sequence[Outcome] = ("success",),
) -> Counter[str]:
    """Run every seed of every case that is not in `out` yet; episodes whose outcome is in `keep` become data."""
    with DatasetWriter(out, robot_spec, with_actions=actions) as writer:
        results = _completed(out / "collect.jsonl", writer.total_episodes, keep)
        others = {result.policy for result in results} - {worker.policy_name}
        if others:
            raise ValueError(
                f"{out} holds episodes of {others.pop()}; collect those of {worker.policy_name} into a new folder"
            )
        finished = {(result.variant, result.seed) for result in results}
        missing = [(variant, seed) for variant in variants for seed in seeds if (variant, seed) not in finished]
        jobs = (Job(variant, seed, record=True) for variant, seed in missing)
        total = len(variants) * len(seeds)
        recorder = DatasetRecorder(writer, keep=keep)
        with EpisodeProgress(total, total - len(missing)) as progress, closing(run_jobs(jobs, worker, workers)) as done:
            for result, recording in done:
                # The line comes first: one without its episode is run again, but a folder with an
                # episode that is not listed could not be continued.
                with runtime.defer_signals() as interrupted:
                    with disk_errors(out, "finished episodes are kept: free disk space, then the same command goes on"):
                        append_result(out / "collect.jsonl", result)
                    if result.outcome in keep and recording is not None:
                        recording.replay(recorder)
                if interrupted():
                    raise KeyboardInterrupt
                results.append(result)
                progress.show(result)
    return Counter(result.outcome for result in results)


def _completed(path: Path, episodes: int, keep: Sequence[Outcome]) -> list[EpisodeResult]:
    """The lines of earlier runs that count: a kill can lose the last episodes between their line and their shard.

    Drops the lines after the dataset's last episode, and crashed episodes: they run again.
    """
    results = read_results(path)
    kept: list[EpisodeResult] = []
    found = 0
    for result in results:
        if result.outcome in keep:
            if found == episodes:
                break
            found += 1
        if result.outcome != "error":
            kept.append(result)
    if found < episodes:
        raise ValueError(f"{path} lists {found} of the dataset's {episodes} episodes; collect into a new folder")
    if len(kept) < len(results):
        write_results(path, kept)
    return kept
