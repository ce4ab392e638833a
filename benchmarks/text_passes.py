"""Passes and time of the calls whose text differs from the window before: plain decoding, verified drafts, masked ones.

Command:  python benchmarks/text_passes.py POLICY [--episodes 10] [--tasks press_count ...] [--seed 10000] [--no-fast]
Appends a line to benchmarks/text_passes.jsonl.

The policy acts, and each call reads its inputs in the three ways in turn: without any draft, with the last window as a
draft, and with that and `masked_drafts`. Texts have to be equal. Passes are those of the backbone up to the end of the
text: the prompt's, those that verify, and those that read masks; the queries' own pass is left out, all ways have it.
Tokens are those of the whole text, its end included. Intervals: 95 %, by bootstrap over episodes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

import wla
from wla.bench.stored import store
from wla.envs.registry import make_env
from wla.models.model import ModelInputs
from wla.types import Observation

TASKS = ("press_count", "cover_blocks", "battery_try", "rank_try")
WAYS = ("plain", "last window", "masked")


class Call(NamedTuple):
    """tokens: of the text, the end included. passes, ms: of each way. kind: of the window before."""

    episode: int
    kind: str
    tokens: int
    passes: dict[str, int]
    ms: dict[str, float]
    equal: bool


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-fast", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    policy = wla.load_policy(arguments.policy, fast=not arguments.no_fast)
    if policy.model.drafter is None:
        parser.error(f"{arguments.policy} has no masked drafts; train some (nano_memory_drafts)")
    calls = [call for number, task in enumerate(arguments.tasks) for call in calls_of(policy, task, number, arguments)]
    changed = [call for call in calls if call.kind == "changed"]
    store(
        "text_passes",
        {
            "policy": arguments.policy,
            "checkpoint_sha256": policy.checkpoint_sha256,
            "tasks": arguments.tasks,
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "threads": arguments.threads,
            "fast": not arguments.no_fast,
            "calls": len(calls),
            "changed": len(changed),
            "other_texts": sum(not call.equal for call in calls),
            "mean_tokens": round(float(np.mean([call.tokens for call in changed])), 1),
            **{f"{way}: tokens per pass": with_interval(changed, way) for way in WAYS},
            **{f"{way}: most passes": max(call.passes[way] for call in changed) for way in WAYS},
            **{
                f"{way}: ms p50, p99": [
                    round(float(np.percentile([call.ms[way] for call in changed], at)), 1) for at in (50, 99)
                ]
                for way in WAYS
            },
            **{
                f"{way}: ms p99 of all calls": round(float(np.percentile([call.ms[way] for call in calls], 99)), 1)
                for way in WAYS
            },
        },
    )


def with_interval(calls: list[Call], way: str) -> list[float]:
    """Tokens per pass over all calls, and its interval."""
    episodes = sorted({call.episode for call in calls})
    sums = np.array(
        [
            [sum(call.tokens for call in own), sum(call.passes[way] for call in own)]
            for own in ([call for call in calls if call.episode == episode] for episode in episodes)
        ]
    )
    rng = np.random.default_rng(0)
    drawn = sums[rng.integers(len(sums), size=(2000, len(sums)))].sum(1)
    tokens, passes = sums.sum(0)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return [round(float(value), 2) for value in (tokens / passes, low, high)]


def calls_of(policy: Any, task: str, number: int, arguments: argparse.Namespace) -> Iterator[Call]:
    """The calls of a task's episodes."""
    builder, env = policy._inputs, make_env("tabletop", task=task)
    for episode in range(arguments.episodes):
        seed = arguments.seed + episode
        raw, info = env.reset(seed=seed)
        state, over = policy.reset(info["instruction"], seed=seed), False
        while not over:
            inputs = builder.build([Observation(**raw)], [state])
            texts, passes, ms = [], {}, {}
            for way in WAYS:
                with counted(policy.model, masked=way == "masked") as count:
                    began = time.perf_counter()
                    own = replace(inputs, texts=[[]]) if way == "plain" else inputs
                    texts.append(generated(policy.model, own))
                    ms[way] = 1000 * (time.perf_counter() - began)
                # The queries are read in a pass of their own, unless the first one has verified all of the text.
                passes[way] = max(1, count[0])
            text, before = texts[0], list(inputs.texts[0])
            kind = "first" if not before else "same" if before == text else "changed"
            equal = all(each == text for each in texts)
            yield Call(1000 * number + episode, kind, len(text) + 1, passes, ms, equal)
            chunk, state = policy.act(Observation(**raw), state)
            for offset, action in enumerate(chunk.actions[: chunk.replan_steps]):
                if offset:
                    state = policy.observe(Observation(**raw), state)
                raw, _, terminated, truncated, _ = env.step(action)
                if over := terminated or truncated:
                    break


def generated(model: Any, inputs: ModelInputs) -> list[int]:
    """The text of one episode."""
    return list(model.generate(inputs).text_tokens[0])


@contextmanager
def counted(model: Any, *, masked: bool) -> Iterator[list[int]]:
    """Passes up to the end of the text: the prompt's counts for the queries', which comes later."""
    count, backbone, drafter = [0], model.backbone, model.drafter
    extend = backbone.extend

    def extended(*arguments: Any) -> Any:
        count[0] += 1
        return extend(*arguments)

    draft = drafter.draft

    def guessed(*arguments: Any) -> Any:
        count[0] += 1
        return draft(*arguments)

    backbone.extend = extended
    if masked:
        drafter.draft = guessed
    else:
        model.drafter = None
    try:
        yield count
    finally:
        del backbone.extend
        if masked:
            del drafter.draft
        else:
            model.drafter = drafter


if __name__ == "__main__":
    main()
