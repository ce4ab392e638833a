"""What a call of each variant of an ablation costs: FLOPs and time, on first observations of the evaluation."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from statistics import fmean, median

from wla.config import Record
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.rollout.build import make_variants, open_env
from wla.training.ablation_config import Ablation
from wla.training.model_flops import ModelFlops
from wla.types import Observation

ROUNDS = 5


class CallCosts(Record):
    """What acting once costs a variant, on the machine of the ablation.

    gflop: model FLOPs of a call, 10^9, the mean over the tasks. actions: those that are executed of its chunk. ms:
    median over tasks and rounds.
    """

    variant: str
    gflop: float
    actions: int
    ms: float


def call_costs(checkpoints: Mapping[str, Path], config: Ablation) -> list[CallCosts]:
    """Measures calls of all variants in turns, so that whatever else the machine does meets all alike.

    checkpoints: variant -> a checkpoint of it. Each acts without imagination, on the first observation of the first
    episode of each task and setting.
    """
    policies = {name: load_policy(str(checkpoint)) for name, checkpoint in checkpoints.items()}
    seen = list(_first_observations(config))
    first = {name: [_first_call(policy, *each) for each in seen] for name, policy in policies.items()}
    ms: dict[str, list[float]] = {name: [] for name in policies}
    for _ in range(ROUNDS):
        for instruction, observation in seen:
            for name, policy in policies.items():
                state = policy.reset(instruction)
                began = time.perf_counter()
                policy.act(observation, state)
                ms[name].append(1000 * (time.perf_counter() - began))
    return [
        CallCosts(
            variant=name,
            gflop=fmean(flops for flops, _ in calls) / 1e9,
            actions=calls[0][1],
            ms=median(ms[name]),
        )
        for name, calls in first.items()
    ]


def calls_table(costs: Sequence[CallCosts]) -> str:
    """Returns the costs of calls as a Markdown table."""
    header = ["variant", "GFLOP a call", "against the first", "actions a call", "GFLOP an action", "ms a call"]
    rows = [header, ["---"] * len(header)]
    for each in costs:
        name, against = each.variant.replace("|", "\\|"), f"{each.gflop / costs[0].gflop:.2f}"
        per_action = f"{each.gflop / each.actions:.4f}"
        rows.append([name, f"{each.gflop:.3f}", against, str(each.actions), per_action, f"{each.ms:.1f}"])
    notes = (
        "Calls without imagination on the first observation of each task, in turns, by the reference path. FLOPs: "
        "matrix products, convolutions and attention, the mean over the tasks. Actions: those executed before the next "
        f"call. Time: the median over the tasks and {ROUNDS} rounds, on this machine with whatever else it did."
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", notes]) + "\n"


def _first_observations(config: Ablation) -> Iterator[tuple[str, Observation]]:
    evaluation = config.evaluation("", 1)
    for variant in make_variants(config):
        with closing(open_env(variant)) as env:
            raw, info = env.reset(seed=evaluation.seeds[0])
        yield info["instruction"], Observation(**raw)


def _first_call(policy: WLAPolicy, instruction: str, observation: Observation) -> tuple[int, int]:
    """FLOPs of a call and how many of its actions are executed."""
    state = policy.reset(instruction)
    with ModelFlops() as counted:
        chunk, _ = policy.act(observation, state)
    return counted.total, len(chunk.actions[: chunk.replan_steps])
