"""Cost of best-of-n selection, stage by stage and as a whole, on the reference path and on the fast one, batch 1,
language on.

Command:  python benchmarks/best_of_n.py POLICY VALUE [--candidates 2 8] [--threads 2] [--calls 60]
Appends a line to benchmarks/best_of_n.jsonl: medians in ms, of the clock and of the process's CPU time, which other
processes of a busy machine change least. At each call every path and number of candidates take their turn, in an order
that changes: the observation is encoded, chunks are sampled, their outcomes imagined and scored; then the policy acts
alone, and best of n. Two pixels of each image are changed each time, so that no path knows an image already.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import wla
from wla.bench.act import Call, unlike_others
from wla.bench.nano import recorded_calls
from wla.bench.stored import store
from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig
from wla.policy.value_checkpoint import ValueCheckpoint, load_value
from wla.policy.wla_policy import WLAPolicy
from wla.types import ActionChunk, FrameContext

WARM_UP = 3


class Meter:
    """Milliseconds of each piece of work, of the clock and of the CPU."""

    def __init__(self) -> None:
        self.wall: dict[str, list[float]] = {}
        self.cpu: dict[str, list[float]] = {}

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        found = work()
        self.wall.setdefault(name, []).append(1000 * (time.perf_counter() - wall))
        self.cpu.setdefault(name, []).append(1000 * (time.process_time() - cpu))
        return found


def measure(
    meter: Meter, path: str, policy: WLAPolicy, value: ValueCheckpoint, count: int, calls: list[Call]
) -> ActionChunk:
    """The stages, and acting as a whole, on calls with images of their own. Returns the best chunk."""
    tied, stages, alone, whole = policy.action_conditioned, *calls
    name = f"{path}, {count}"
    encoding = meter.timed(f"{name}: read", lambda: policy.encode([stages.observation], [stages.state]))
    chunks = meter.timed(f"{name}: actions", lambda: policy.sample_actions(encoding, count))
    actions = chunks if tied else None
    images = meter.timed(
        f"{name}: images",
        lambda: policy.predict_images(encoding, samples=count, actions=actions, shared_noise=tied),
    )
    contexts = [FrameContext(stages.state.instruction)] * count
    meter.timed(f"{name}: scores", lambda: value.score(contexts, images[0]))
    meter.timed(f"{name}: act alone", lambda: policy.act(*alone))
    best = BestOfNPolicy(policy, value, BestOfNPolicyConfig(num_candidates=count))
    return meter.timed(f"{name}: act", lambda: best.act(*whole))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy")
    parser.add_argument("value", help="a value model: folder, bundled name or hub id")
    parser.add_argument("--candidates", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    paths = {
        name: (wla.load_policy(arguments.policy, imagination=True, fast=fast), load_value(arguments.value, fast=fast))
        for name, fast in (("reference", False), ("fast", True))
    }
    calls = recorded_calls(paths["reference"][0], arguments.calls + WARM_UP)
    variants = [(path, count) for path in paths for count in arguments.candidates]
    meter, same, difference = Meter(), {count: 0 for count in arguments.candidates}, 0.0
    for number, call in enumerate(calls):
        if number == WARM_UP:  # the first calls allocate
            meter = Meter()
        first, chunks = number % len(variants), dict[tuple[str, int], ActionChunk]()
        for path, count in variants[first:] + variants[:first]:
            # Of each number of candidates and of each call; both paths read the same.
            base = 3 * (number * len(arguments.candidates) + arguments.candidates.index(count))
            images = [unlike_others(call, base + index) for index in range(3)]
            chunks[path, count] = measure(meter, path, *paths[path], count, images)
        for count in arguments.candidates if number >= WARM_UP else ():
            ours, theirs = chunks["fast", count].candidates, chunks["reference", count].candidates
            assert ours is not None, "chosen among candidates"
            assert theirs is not None
            same[count] += ours.selected == theirs.selected
            difference = max(difference, float(np.abs(ours.scores - theirs.scores).max()))
    store(
        "best_of_n",
        {
            "policy": arguments.policy,
            "checkpoint_sha256": paths["reference"][0].checkpoint_sha256,
            "action_conditioned": paths["reference"][0].action_conditioned,
            "candidates": arguments.candidates,
            "threads": arguments.threads,
            "calls": arguments.calls,
            "ms": {name: round(float(np.median(found)), 1) for name, found in meter.wall.items()},
            "cpu_ms": {name: round(float(np.median(found)), 1) for name, found in meter.cpu.items()},
            "same_choice": same,
            "largest_difference_of_scores": difference,
        },
    )


if __name__ == "__main__":
    main()
