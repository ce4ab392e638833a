"""Closed-loop evaluation: many episodes of many tasks, resumable, with rates that carry their uncertainty.

A folder of results holds ``run.json`` (what is evaluated), ``results.jsonl`` (one line per episode, written as they
finish), ``episodes/`` (a few recorded ones), ``summary.json`` and ``report.html``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from wla.config import Config
from wla.envs.registry import load_family
from wla.envs.seeds import require_seeds
from wla.evaluation.configs import EvalConfig
from wla.evaluation.episode_files import VideoQuota, episode_folder
from wla.files import atomic_write_text, disk_errors
from wla.rollout.build import build, checkpoint_sha256, make_variants, require_expert
from wla.rollout.configs import BestOfNConfig, MemoryInterventionKind
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import (
    EpisodeResult,
    Rate,
    TaskVariant,
    append_result,
    read_results,
    success_rate,
    write_results,
)
from wla.rollout.subtask_metrics import SubtaskRates, subtask_rates
from wla.rollout.workers import Job, Worker, run_jobs

RULE = "rate = successes / (successes + failures); errors are crashes, counted apart and run again on resume"
RESUME_HINT = "finished episodes are kept: free disk space, then the same command goes on"


class Identity(Config):
    """What has to be the same for episodes to share one folder (``run.json``)."""

    policy: str
    checkpoint_sha256: str | None
    replan_steps: int | None
    memory_intervention: MemoryInterventionKind | None = None
    best_of_n: BestOfNConfig | None = None


@dataclass(frozen=True)
class Summary:
    """All episodes of a folder, per case and together."""

    policy: str
    checkpoint_sha256: str | None
    variants: tuple[tuple[TaskVariant, Rate], ...]
    total: Rate
    subtask_metrics: tuple[SubtaskRates | None, ...]
    """Of each case."""

    def save(self, path: Path) -> None:
        tree = {
            "policy": self.policy,
            "checkpoint_sha256": self.checkpoint_sha256,
            "rule": RULE,
            "cases": [
                asdict(variant)
                | asdict(rate)
                | {"subtask_metrics": None if subtask_metrics is None else asdict(subtask_metrics)}
                for (variant, rate), subtask_metrics in zip(self.variants, self.subtask_metrics, strict=True)
            ],
            "all": asdict(self.total),
        }
        atomic_write_text(path, json.dumps(tree, indent=2) + "\n")


def run_benchmark(config: EvalConfig, out: Path, *, workers: int = 1) -> Summary:
    """Evaluate as `config` says, adding to what `out` already holds.

    ValueError for seeds outside the split's range, unknown names, a policy of another robot, or a folder with results
    of another policy.
    """
    require_seeds(config.seeds, config.split, load_family(config.env).seeds)
    variants = make_variants(config.env, config.tasks, config.setting, config.embodiment)
    if config.policy == "expert":
        require_expert(variants[0])
    best_of_n = config.best_of_n
    imagine = config.imagine or best_of_n is not None
    sha256 = checkpoint_sha256(config.policy, imagine=imagine, device=config.device)
    if best_of_n is not None and sha256 is None:
        raise ValueError(f"policy {config.policy} cannot weigh candidates; --num-candidates is for checkpoints")
    identity = Identity(
        policy=config.policy,
        checkpoint_sha256=sha256,
        replan_steps=config.replan_steps,
        memory_intervention=config.memory_intervention,
        best_of_n=best_of_n,
    )
    make = partial(
        build,
        policy=config.policy,
        imagine=imagine,
        device=config.device,
        memory_intervention=config.memory_intervention,
        best_of_n=best_of_n,
    )
    worker = Worker(make, config.policy, config.replan_steps, config.imagine)
    return evaluate(variants, config.seeds, worker, identity, out, workers=workers, max_videos=config.max_videos)


def evaluate(
    variants: Sequence[TaskVariant],
    seeds: Sequence[int],
    worker: Worker,
    identity: Identity,
    out: Path,
    *,
    workers: int,
    max_videos: int,
) -> Summary:
    """Run every seed of every case that `out` does not have yet; an interruption loses only episodes in progress."""
    _open_folder(out, identity)
    results = _drop_errors(out)
    finished = {(result.variant, result.seed) for result in results}
    missing = [(variant, seed) for variant in variants for seed in seeds if (variant, seed) not in finished]
    album = VideoQuota(out / "episodes", max_videos)
    jobs = (Job(variant, seed, album.has_room(variant)) for variant, seed in missing)
    total = len(variants) * len(seeds)
    try:
        with EpisodeProgress(total, total - len(missing)) as progress, closing(run_jobs(jobs, worker, workers)) as done:
            for result, recording in done:
                with disk_errors(out, RESUME_HINT):
                    if recording is not None and album.accepts(result.variant, result.outcome):
                        album.add(result, recording)
                    append_result(out / "results.jsonl", result)
                results.append(result)
                progress.show(result)
    finally:
        # Also after an interruption the summary says what the folder holds.
        summary = summarise(results, identity)
        with disk_errors(out, RESUME_HINT):
            summary.save(out / "summary.json")
    return summary


def summarise(results: Sequence[EpisodeResult], identity: Identity) -> Summary:
    variants = dict.fromkeys(result.variant for result in results)
    rates = tuple((variant, success_rate(r for r in results if r.variant == variant)) for variant in variants)
    subtask_metrics = tuple(subtask_rates(r for r in results if r.variant == variant) for variant in variants)
    return Summary(identity.policy, identity.checkpoint_sha256, rates, success_rate(results), subtask_metrics)


def load_summary(out: Path) -> Summary:
    """The summary of a folder's results as they are now. FileNotFoundError when the folder holds none."""
    if not (out / "run.json").exists():
        raise FileNotFoundError(f"{out} holds no evaluation: run.json is missing")
    return summarise(read_results(out / "results.jsonl"), Identity.load(out / "run.json"))


def _open_folder(out: Path, identity: Identity) -> None:
    path = out / "run.json"
    if not path.exists():
        with disk_errors(out, "free disk space or choose another --out"):
            out.mkdir(parents=True, exist_ok=True)
            identity.save(path)
        return
    before = Identity.load(path)
    same_policy = before.checkpoint_sha256 == identity.checkpoint_sha256
    if identity.checkpoint_sha256 is None:
        same_policy &= before.policy == identity.policy
    named = {"policy": identity.policy, "checkpoint_sha256": identity.checkpoint_sha256}
    if not same_policy or before.replace(**named) != identity:
        raise ValueError(
            f"{out} holds results of another run ({_describe(before)}); this one is {_describe(identity)}: "
            "use another --out folder"
        )


def _describe(identity: Identity) -> str:
    sha = f" sha256 {identity.checkpoint_sha256[:12]}" if identity.checkpoint_sha256 else ""
    fault = f", memory {identity.memory_intervention}" if identity.memory_intervention else ""
    best_of_n = identity.best_of_n
    weighs = ""
    if best_of_n is not None:
        scorer = f"value {best_of_n.value}" if best_of_n.goal is None else f"goal {best_of_n.goal}"
        kind = "" if best_of_n.action_conditioning else "not action-conditioned, "
        weighs = f", {best_of_n.num_candidates} candidates, {kind}horizon {best_of_n.imagination_horizon}, {scorer}"
    return f"policy {identity.policy}{sha}, execute {identity.replan_steps or 'unset'}{fault}{weighs}"


def _drop_errors(out: Path) -> list[EpisodeResult]:
    """The decided episodes of a folder; those that crashed are taken out, so that they run again."""
    results = read_results(out / "results.jsonl")
    decided = [result for result in results if result.outcome != "error"]
    if len(decided) < len(results):
        for result in (result for result in results if result.outcome == "error"):
            shutil.rmtree(out / "episodes" / episode_folder(result.variant, result.seed), ignore_errors=True)
        write_results(out / "results.jsonl", decided)
    return decided
