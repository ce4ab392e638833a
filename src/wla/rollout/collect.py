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
from wla.envs.registry import video_tasks
from wla.envs.seeds import require_seeds
from wla.files import disk_errors
from wla.rollout.build import build_expert, make_cases, robot_of
from wla.rollout.configs import CollectConfig
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import Case, EpisodeResult, append_result, read_results, write_results
from wla.rollout.workers import Job, Worker, run_jobs
from wla.specs import RobotSpec
from wla.types import Outcome


def collect(config: CollectConfig, out: Path, *, workers: int = 1) -> Counter[str]:
    """Collect what `out` does not have yet; returns how many episodes had which outcome, earlier runs included.

    After KeyboardInterrupt or an exception the finished episodes are in the dataset, and the same call goes on.
    ValueError for seeds outside the split's range, unknown names, actions of tasks that are kept for videos, kicks that
    what was done would not show, a share of going astray without a policy, or a folder with something else in it.
    """
    require_seeds(config.seeds, config.split)
    cases = make_cases(config.env, config.tasks, config.setting, config.embodiment)
    kept = {case.task for case in cases} & set(video_tasks(config.env))
    if config.actions and kept:
        raise ValueError(f"{min(kept)} measures learning from videos: collect it with --no-actions")
    if config.astray_share and config.policy is None:
        raise ValueError("--astray-share is a share of what a policy does; add --policy")
    corrects = config.record == "advice"
    if config.kicks and not corrects:
        raise ValueError("--record done: kicks would move the robot otherwise than recorded; add --no-kicks")
    worker = Worker(
        partial(
            build_expert,
            kicks=config.kicks,
            policy=config.policy,
            share=config.expert_share,
            astray=config.astray_share,
            corrects=corrects,
        ),
        config.policy or "expert",
    )
    robot_spec = robot_of(cases[0])
    keep: tuple[Outcome, ...] = ("success",) if config.policy is None else ("success", "failure")
    return record(cases, config.seeds, worker, robot_spec, out, workers=workers, actions=config.actions, keep=keep)


def record(
    cases: Sequence[Case],
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
        results = _published(out / "collect.jsonl", writer.total_episodes, keep)
        others = {result.policy for result in results} - {worker.policy_name}
        if others:
            raise ValueError(
                f"{out} holds episodes of {others.pop()}; collect those of {worker.policy_name} into a new folder"
            )
        finished = {(result.case, result.seed) for result in results}
        missing = [(case, seed) for case in cases for seed in seeds if (case, seed) not in finished]
        jobs = (Job(case, seed, record=True) for case, seed in missing)
        total = len(cases) * len(seeds)
        recorder = DatasetRecorder(writer, keep=keep)
        with EpisodeProgress(total, total - len(missing)) as progress, closing(run_jobs(jobs, worker, workers)) as done:
            for result, recording in done:
                # The line comes first: one without its episode is run again, but a folder with an
                # episode that is not listed could not be continued.
                with runtime.interrupts_held() as interrupted:
                    with disk_errors(out, "finished episodes are kept: free disk space, then the same command goes on"):
                        append_result(out / "collect.jsonl", result)
                    if result.outcome in keep and recording is not None:
                        recording.replay(recorder)
                if interrupted():
                    raise KeyboardInterrupt
                results.append(result)
                progress.show(result)
    return Counter(result.outcome for result in results)


def _published(path: Path, episodes: int, keep: Sequence[Outcome]) -> list[EpisodeResult]:
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
