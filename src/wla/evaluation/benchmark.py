"""Closed-loop evaluation: many episodes of many tasks, resumable, with rates that carry their uncertainty.

A folder of results holds ``run.json`` (what is evaluated), ``results.jsonl`` (one line per episode, written as they
finish), ``episodes/`` (a few recorded ones), ``summary.json`` and ``report.html``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from wla.envs.registry import load_family
from wla.envs.seeds import require_seeds
from wla.evaluation.configs import EvalConfig
from wla.evaluation.episode_files import VideoQuota, episode_folder
from wla.evaluation.paired import Key, by_key
from wla.evaluation.provenance import Provenance, provenance
from wla.evaluation.summary import SUMMARY, Identity, Summary, require_same_run, summarise
from wla.files import clear_staging, disk_errors
from wla.locks import locked
from wla.rollout.build import build, load_shared, make_variants, require_expert, robot_of
from wla.rollout.configs import EngineConfig
from wla.rollout.driver import run_jobs
from wla.rollout.progress import EpisodeProgress
from wla.rollout.results import EpisodeResult, append_result, read_results, write_results
from wla.rollout.runner import Episode, EpisodeRunner, Job

RESUME_HINT = "finished episodes are kept: free disk space or choose another --out, then the same command continues"


def run_benchmark(config: EvalConfig, out: Path, episodes: Sequence[Key] | None = None) -> Summary:
    """Runs an evaluation, adding to what `out` already holds.

    episodes: those to run, in this order; when left out, every seed of every task variant that the configuration names.

    ValueError for seeds outside the split's range, unknown names, a policy of another robot, or a folder with results
    of another policy.
    """
    require_seeds(config.seeds, config.split, load_family(config.env).seeds)
    engine = EngineConfig.of(config)
    variants = make_variants(config)
    if config.policy == "expert":
        require_expert(variants[0])
    shared = load_shared(
        config.policy,
        robot=robot_of(variants[0]),
        imagine=config.imagine,
        device=config.device,
        best_of_n=config.best_of_n,
        inference=config,
    )
    identity = Identity(
        policy=config.policy,
        checkpoint_sha256=None if shared is None else shared.checkpoint_sha256,
        replan_steps=config.replan_steps,
        flow_steps=config.flow_steps,
        action_noise=config.action_noise,
        protocol=variants[0].protocol,
        memory_intervention=config.memory_intervention,
        best_of_n=config.best_of_n,
        timing=config.timing,
    )
    make = partial(build, policy=config.policy, memory_intervention=config.memory_intervention, timing=config.timing)
    # A policy behind a delay gives an action per step.
    replan_steps = None if config.timing is not None else config.replan_steps
    runner = EpisodeRunner(make, config.policy, shared, replan_steps, config.imagine)
    return evaluate(
        episodes or [(variant, seed) for variant in variants for seed in config.seeds],
        runner,
        identity,
        out,
        engine=engine,
        max_videos=config.max_videos,
        reproduction=provenance(config, out),
    )


def evaluate(
    episodes: Sequence[Key],
    runner: EpisodeRunner,
    identity: Identity,
    out: Path,
    *,
    engine: EngineConfig | None = None,
    max_videos: int = 0,
    reproduction: Provenance | None = None,
) -> Summary:
    """Runs the episodes that `out` does not have yet, in order; an interruption loses only episodes in progress.

    reproduction: how to run them again, for the summary. ValueError when another process writes into `out`, or when it
    holds results of another run.
    """
    with locked(out, RESUME_HINT):
        clear_staging(out)
        results = _decided_results(out, identity)
        finished = by_key(results)
        missing = [episode for episode in episodes if episode not in finished]
        videos = VideoQuota(out / "episodes", max_videos)
        jobs = (Job(variant, seed, videos.has_room(variant)) for variant, seed in missing)
        run = run_jobs(jobs, runner, engine)
        try:
            with EpisodeProgress(len(episodes), len(episodes) - len(missing)) as progress, closing(run):
                for episode in run:
                    _store(episode, out, identity, videos, first=not results)
                    results.append(episode[0])
                    progress.show(episode[0])
        finally:
            # Also after an interruption the summary describes the folder.
            summary = summarise(results, identity)
            if results:
                with disk_errors(out, RESUME_HINT):
                    summary.save(out / SUMMARY, reproduction)
        return summary


def _store(episode: Episode, out: Path, identity: Identity, videos: VideoQuota, *, first: bool) -> None:
    """Writes an episode. first: of the folder, which is claimed only now, because a refused run must not claim it."""
    result, recording = episode
    with disk_errors(out, RESUME_HINT):
        if first:
            out.mkdir(parents=True, exist_ok=True)
            identity.save(out / "run.json")
        if recording is not None and videos.accepts(result.variant, result.outcome):
            videos.add(result, recording)
        append_result(out / "results.jsonl", result)


def _decided_results(out: Path, identity: Identity) -> list[EpisodeResult]:
    """The decided episodes of a folder. Those that crashed are taken out, so that they run again.

    ValueError when they are episodes of another run.
    """
    results = read_results(out / "results.jsonl")
    decided = [result for result in results if result.outcome != "error"]
    if decided:
        require_same_run(out, identity)
    if len(decided) < len(results):
        for result in (result for result in results if result.outcome == "error"):
            shutil.rmtree(out / "episodes" / episode_folder(result.variant, result.seed), ignore_errors=True)
        with disk_errors(out, RESUME_HINT):
            write_results(out / "results.jsonl", decided)
    return decided
