"""How long one `act` takes and how much memory the process needs: batch 1, language on, no image.

Command:  python benchmarks/act.py [POLICY] [--threads 2] [--calls 100]
Appends a line to benchmarks/act.jsonl.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import torch
from machine import store

import wla
from wla.envs.registry import make_env
from wla.types import Observation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", nargs="?", default="nano-tabletop")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    policy = wla.load_policy(arguments.policy)
    env = make_env("tabletop", task="place")
    raw, info = env.reset(seed=10_000)
    state = policy.reset(info["instruction"])
    times, words = [], []
    for call in range(arguments.calls + 5):
        began = time.perf_counter()
        chunk, state = policy.act(Observation(**raw), state)
        if call >= 5:  # the first calls allocate
            times.append(1000 * (time.perf_counter() - began))
            words.append(len(chunk.subtasks))
        raw, _, terminated, truncated, _ = env.step(chunk.actions[0])
        if terminated or truncated:
            raw, info = env.reset(seed=10_001 + call)
            state = policy.reset(info["instruction"])
    store(
        "act",
        {
            "policy": arguments.policy,
            "checkpoint_sha256": policy.checkpoint_sha256,
            "threads": arguments.threads,
            "calls": arguments.calls,
            "median_ms": round(float(np.median(times)), 1),
            "p90_ms": round(float(np.quantile(times, 0.9)), 1),
            "mean_subtasks": round(float(np.mean(words)), 2),
            "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        },
    )


if __name__ == "__main__":
    main()
