"""Episodes into a LeRobot dataset, resumable.

Beside the dataset's own files the folder holds ``collect.jsonl``, one line per episode that was tried.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from wla.data.lerobot.recorder import DatasetRecorder
from wla.data.lerobot.writer import DatasetWriter
from wla.files import disk_errors
from wla.rollout.driver import run_jobs
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import EpisodeResult, TaskVariant, append_result, read_results, write_results
from wla.rollout.runner import EpisodeRunner, Job
from wla.signals import defer_signals
from wla.specs import RobotSpec
from wla.types import Outcome

if TYPE_CHECKING:
    from wla.rollout.configs import EngineConfig

RESUME_HINT = "finished episodes are kept: free disk space, then the same command continues"


def record(
    variants: Sequence[TaskVariant],
    seeds: Sequence[int],
    runner: EpisodeRunner,
    robot_spec: RobotSpec,
    out: Path,
    *,
    engine: EngineConfig | None = None,
    actions: bool = True,
    keep: Sequence[Outcome] = ("success",),
) -> Counter[str]:
    """Run every seed of every variant that is not in `out` yet; episodes whose outcome is in `keep` become data."""
    with DatasetWriter(out, robot_spec, with_actions=actions, with_rewards=True) as writer:
        results = _completed(out / "collect.jsonl", Counter(writer.published), keep)
        others = {result.policy for result in results} - {runner.policy_name}
        if others:
            raise ValueError(
                f"{out} holds episodes of {others.pop()}; collect those of {runner.policy_name} into a new folder"
            )
        finished = {(result.variant, result.seed) for result in results}
        missing = [(variant, seed) for variant in variants for seed in seeds if (variant, seed) not in finished]
        jobs = (Job(variant, seed, record=True) for variant, seed in missing)
        total = len(variants) * len(seeds)
        recorder = DatasetRecorder(writer, keep=keep)
        episodes = run_jobs(jobs, runner, engine)
        with EpisodeProgress(total, total - len(missing)) as progress, closing(episodes):
            for result, recording in episodes:
                # The line comes first: one without its episode is run again, but a folder with an
                # episode that is not listed could not be continued.
                with defer_signals() as interrupted:
                    with disk_errors(out, RESUME_HINT):
                        append_result(out / "collect.jsonl", result)
                    if result.outcome in keep and recording is not None:
                        recording.replay(recorder)
                if interrupted():
                    raise KeyboardInterrupt
                results.append(result)
                progress.show(result)
    return Counter(result.outcome for result in results)


def _completed(path: Path, published: Counter[tuple[int | None, str]], keep: Sequence[Outcome]) -> list[EpisodeResult]:
    """The lines of earlier runs that count: a kill can lose the last episodes between their line and their shard.

    published: seed and instruction of the dataset's episodes, in any order. Drops the lines without their episode, and
    crashed episodes: they run again. ValueError for an episode without its line, or recorded twice.
    """
    kept: list[EpisodeResult] = []
    missing = published.copy()
    for result in read_results(path):
        recorded = (result.seed, result.instruction)
        if result.outcome in keep and missing[recorded] > 0:
            missing[recorded] -= 1
        elif result.outcome in keep or result.outcome == "error":
            continue
        kept.append(result)
    if missing.total():
        found, episodes = published.total() - missing.total(), published.total()
        raise ValueError(f"{path} lists {found} of the dataset's {episodes} episodes; collect into a new folder")
    if path.exists():
        with disk_errors(path.parent, RESUME_HINT):
            write_results(path, kept)
    return kept
