"""Trials on a robot that a person scored, in the files of an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wla.evaluation.configs import PROTOCOL, TrialConfig
from wla.evaluation.summary import SUMMARY, Identity, Summary, require_same_run, summarise
from wla.files import disk_errors
from wla.locks import locked
from wla.rollout.results import EpisodeResult, TaskVariant, append_result, read_results
from wla.rollout.versions import versions
from wla.types import Outcome

HINT = "the trials so far are kept: free disk space, then score the others"


def next_trial(out: Path, variant: TaskVariant) -> int:
    """The number after the last trial of the variant that was scored."""
    return 1 + max((each.seed for each in read_results(out / "results.jsonl") if each.variant == variant), default=-1)


def score_trials(
    config: TrialConfig, outcomes: Sequence[Outcome], out: Path, *, first: int, checkpoint_sha256: str | None = None
) -> Summary:
    """Adds trials to the results of a folder, each with its number in the place of a seed, and writes the summary.

    first: number of the first one. ValueError for a number that was scored before, and for a folder that holds results
    of another policy.
    """
    identity = Identity(policy=config.policy, checkpoint_sha256=checkpoint_sha256, replan_steps=None, protocol=PROTOCOL)
    with locked(out, HINT):
        results = read_results(out / "results.jsonl")
        if results:
            require_same_run(out, identity)
        known = {each.seed for each in results if each.variant == config.variant}
        trials = [_trial(config, first + index, outcome, checkpoint_sha256) for index, outcome in enumerate(outcomes)]
        for trial in trials:
            if trial.seed in known:
                raise ValueError(f"{out}: trial {trial.seed} of {config.task} is scored; number new ones from another")
        with disk_errors(out, HINT):
            out.mkdir(parents=True, exist_ok=True)
            if not results:
                identity.save(out / "run.json")
            for trial in trials:
                append_result(out / "results.jsonl", trial)
            summary = summarise([*results, *trials], identity)
            summary.save(out / SUMMARY)
    return summary


def _trial(config: TrialConfig, number: int, outcome: Outcome, checkpoint_sha256: str | None) -> EpisodeResult:
    return EpisodeResult(
        **asdict(config.variant),
        instruction=config.instruction,
        seed=number,
        outcome=outcome,
        error="a person broke it off" if outcome == "error" else None,
        steps=0,
        policy=config.policy,
        checkpoint_sha256=checkpoint_sha256,
        subtasks=(),
        memory=(),
        subtask_metrics=None,
        versions=versions(),
    )
