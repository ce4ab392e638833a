"""`wla score`: trials on a robot as a person saw them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import Field

from wla.cli.command import Command
from wla.evaluation.configs import TrialConfig, TrialOutcome

ANSWERS: dict[str, TrialOutcome] = {"y": "success", "n": "failure", "e": "error"}


class ScoreArgs(TrialConfig):
    """Score trials on a robot as a person saw them, in the files of an evaluation.

    OUT gets results.jsonl, summary.json and report.html, which `wla report` and `wla compare-runs` read. The number of
    a trial stands in the place of a seed: trial k of one policy is compared with trial k of another, so let both begin
    from the same scene. A trial that was broken off, but not because of the policy, is an error, which no rate counts.

    examples:
      wla score outputs/towel --policy my_run --robot my_arm --task towel --outcomes success failure success
      wla score outputs/towel --policy my_run --robot my_arm --task towel
      wla compare-runs outputs/towel_before outputs/towel
    """

    out: Path
    """Folder of the results."""
    outcomes: tuple[TrialOutcome, ...] = ()
    """How the trials ended, in order: success, failure or error. Left out: you are asked, one by one."""
    first_trial: int | None = Field(default=None, ge=0)
    """Number of the first one; the next that has none when left out."""


def score(args: ScoreArgs) -> int:
    from wla.cli.evaluation_table import print_summary
    from wla.evaluation.report import write_report
    from wla.evaluation.scored_trials import next_trial, score_trials
    from wla.evaluation.summary import load_summary
    from wla.policy.checkpoint_files import sha256
    from wla.policy.hub import checkpoint_kind, local_folder

    first = next_trial(args.out, args.variant) if args.first_trial is None else args.first_trial
    config = TrialConfig.model_validate({name: getattr(args, name) for name in TrialConfig.model_fields})
    folder = local_folder(args.policy)
    known = sha256(folder) if folder.is_dir() and checkpoint_kind(folder) == "policy" else None
    batches = [args.outcomes] if args.outcomes else ([answer] for answer in _asked(args.task, first))
    number = first
    for outcomes in batches:
        score_trials(config, outcomes, args.out, first=number, checkpoint_sha256=known)
        number += len(outcomes)
    if number == first:
        raise ValueError("no trial was scored; type y or n for each, or give --outcomes")
    print_summary(load_summary(args.out))
    print(f"report: {write_report(args.out)}")
    return 0


def _asked(task: str, first: int) -> Iterator[TrialOutcome]:
    """What a person says of each trial, until the input ends."""
    number = first
    while True:
        print(f"{task}, trial {number}: did it succeed? y, n, e for an error, or Enter to end", flush=True)
        answer = sys.stdin.readline().strip().lower()
        if not answer:
            return
        if answer in ANSWERS:
            yield ANSWERS[answer]
            number += 1


SCORE = {"score": Command(ScoreArgs, score, positional=("out",))}
