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
from wla.envs.seeds import require_seeds
from wla.evaluation.configs import EvalConfig
from wla.evaluation.episode_files import Album, episode_folder
from wla.files import disk_errors, write_whole
from wla.rollout.build import build, checkpoint_sha256, make_cases
from wla.rollout.configs import MemoryFault, Weighing
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import Case, EpisodeResult, Rate, append_result, read_results, success_rate, write_results
from wla.rollout.subtask_metrics import WordRates, word_rates
from wla.rollout.workers import Job, Worker, run_jobs

RULE = "rate = successes / (successes + failures); errors are crashes, counted apart and run again on resume"
KEPT = "finished episodes are kept: free disk space, then the same command goes on"


class Identity(Config):
    """What has to be the same for episodes to share one folder (``run.json``)."""

    policy: str
    checkpoint_sha256: str | None
    execute: int | None
    memory_fault: MemoryFault | None = None
    weighing: Weighing | None = None


@dataclass(frozen=True)
class Summary:
    """All episodes of a folder, per case and together."""

    policy: str
    checkpoint_sha256: str | None
    cases: tuple[tuple[Case, Rate], ...]
    total: Rate
    words: tuple[WordRates | None, ...]
    """Of each case."""

    def save(self, path: Path) -> None:
        tree = {
            "policy": self.policy,
            "checkpoint_sha256": self.checkpoint_sha256,
            "rule": RULE,
            "cases": [
                asdict(case) | asdict(rate) | {"words": None if words is None else asdict(words)}
                for (case, rate), words in zip(self.cases, self.words, strict=True)
            ],
            "all": asdict(self.total),
        }
        write_whole(path, json.dumps(tree, indent=2) + "\n")


def run_benchmark(config: EvalConfig, out: Path, *, workers: int = 1) -> Summary:
    """Evaluate as `config` says, adding to what `out` already holds.

    ValueError for seeds outside the split's range, unknown names, a policy of another robot, or a folder with results
    of another policy.
    """
    require_seeds(config.seeds, config.split)
    cases = make_cases(config.env, config.tasks, config.setting, config.embodiment)
    weighing = config.weighing
    imagine = config.imagine or weighing is not None
    sha256 = checkpoint_sha256(config.policy, imagine=imagine, device=config.device)
    if weighing is not None and sha256 is None:
        raise ValueError(f"policy {config.policy} cannot weigh candidates; --candidates is for checkpoints")
    identity = Identity(
        policy=config.policy,
        checkpoint_sha256=sha256,
        execute=config.execute,
        memory_fault=config.memory_fault,
        weighing=weighing,
    )
    make = partial(
        build,
        policy=config.policy,
        imagine=imagine,
        device=config.device,
        memory_fault=config.memory_fault,
        weighing=weighing,
    )
    worker = Worker(make, config.policy, config.execute, config.imagine)
    return evaluate(cases, config.seeds, worker, identity, out, workers=workers, max_videos=config.max_videos)


def evaluate(
    cases: Sequence[Case],
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
    finished = {(result.case, result.seed) for result in results}
    missing = [(case, seed) for case in cases for seed in seeds if (case, seed) not in finished]
    album = Album(out / "episodes", max_videos)
    jobs = (Job(case, seed, album.has_room(case)) for case, seed in missing)
    total = len(cases) * len(seeds)
    try:
        with EpisodeProgress(total, total - len(missing)) as progress, closing(run_jobs(jobs, worker, workers)) as done:
            for result, recording in done:
                with disk_errors(out, KEPT):
                    if recording is not None and album.wants(result.case, result.outcome):
                        album.add(result, recording)
                    append_result(out / "results.jsonl", result)
                results.append(result)
                progress.show(result)
    finally:
        # Also after an interruption the summary says what the folder holds.
        summary = summarise(results, identity)
        with disk_errors(out, KEPT):
            summary.save(out / "summary.json")
    return summary


def summarise(results: Sequence[EpisodeResult], identity: Identity) -> Summary:
    cases = dict.fromkeys(result.case for result in results)
    rates = tuple((case, success_rate(r for r in results if r.case == case)) for case in cases)
    words = tuple(word_rates(r for r in results if r.case == case) for case in cases)
    return Summary(identity.policy, identity.checkpoint_sha256, rates, success_rate(results), words)


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
    if not same_policy or before.model_copy(update=named) != identity:
        raise ValueError(
            f"{out} holds results of another run ({_words(before)}); this one is {_words(identity)}: "
            "use another --out folder"
        )


def _words(identity: Identity) -> str:
    sha = f" sha256 {identity.checkpoint_sha256[:12]}" if identity.checkpoint_sha256 else ""
    fault = f", memory {identity.memory_fault}" if identity.memory_fault else ""
    weighing = identity.weighing
    weighs = ""
    if weighing is not None:
        scorer = f"value {weighing.value}" if weighing.goal is None else f"goal {weighing.goal}"
        kind = "plain, " if weighing.plain else ""
        weighs = f", {weighing.candidates} candidates, {kind}horizon {weighing.horizon}, {scorer}"
    return f"policy {identity.policy}{sha}, execute {identity.execute or 'unset'}{fault}{weighs}"


def _drop_errors(out: Path) -> list[EpisodeResult]:
    """The decided episodes of a folder; those that crashed are taken out, so that they run again."""
    results = read_results(out / "results.jsonl")
    decided = [result for result in results if result.outcome != "error"]
    if len(decided) < len(results):
        for result in (result for result in results if result.outcome == "error"):
            shutil.rmtree(out / "episodes" / episode_folder(result.case, result.seed), ignore_errors=True)
        write_results(out / "results.jsonl", decided)
    return decided
