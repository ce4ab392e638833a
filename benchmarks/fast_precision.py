"""Compiled functions beside the reference: how far texts and actions agree, and CPU time of calls, in turns.

202 prompts of the six short tasks in batches of 1 to 8, with memories of 0 to 7 items and drafts that hold and fail.

Command:  python benchmarks/fast_precision.py [POLICY] [--precision float32 bfloat16] [--calls 60]
Appends a line to benchmarks/fast_precision.jsonl.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

import wla
from wla.bench.act import Call, unlike_others
from wla.bench.stored import store
from wla.envs.registry import make_env
from wla.policy.wla_policy import WLAPolicy
from wla.types import MemoryItem, Observation

TASKS = ("place", "stack", "push", "press", "drawer", "place_two")
SEEDS, PROMPTS, FEW_STEPS = range(320_000, 320_012), 202, 1


def prompts(policy: WLAPolicy) -> list[Call]:
    """Calls of episodes of all tasks, every third without a draft and every fourth with the draft of another."""
    found, texts = list[Call](), ["reach the red block"]
    for seed in SEEDS:
        for task in TASKS:
            env = make_env("tabletop", task=task)
            raw, info = env.reset(seed=seed)
            state = policy.reset(info["instruction"], seed=seed)
            for _ in range(3):
                number = len(found)
                memory = tuple(MemoryItem(texts[-1 - index % len(texts)], 0, 0) for index in range(number % 8))
                draft = ((), state.subtasks, state.subtasks, (texts[number % len(texts)],))[number % 4]
                found.append(Call(Observation(**raw), replace(state, memory=memory, subtasks=draft)))
                chunk, state = policy.act(Observation(**raw), state)
                texts += [text for text in chunk.subtasks if text not in texts]
                for action in chunk.actions:
                    raw, *_ = env.step(action)
            env.close()
            if len(found) >= PROMPTS:
                return found[:PROMPTS]
    return found


def batches(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """The calls in batches of 1 to 8."""
    begin, size = 0, 1
    while begin < len(calls):
        yield calls[begin : begin + size]
        begin, size = begin + size, size % 8 + 1


def margin(policy: WLAPolicy, call: Call, ours: Sequence[str], theirs: Sequence[str]) -> float:
    """By how much the reference prefers its token where two texts part."""
    one, two = ([*policy._prompter.answer(texts), policy._prompter.stop] for texts in (ours, theirs))
    same = next(index for index, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    inputs = policy._inputs.build([call.observation], [call.state])
    tokens = torch.tensor([[*inputs.prompts[0], *two[:same]]])
    with torch.inference_mode():
        states = policy.model.backbone.encode(tokens, torch.ones_like(tokens, dtype=torch.bool), inputs.images).last
        best = policy.model.backbone.logits(states[:, -1]).topk(2).values[0]
    return float(best[0] - best[1])


def equality(reference: WLAPolicy, fast: WLAPolicy, calls: Sequence[Call]) -> dict[str, float | int | list[float]]:
    """Equal texts, margins where they are not, and differences of actions as shares of their range."""
    low, high = np.asarray(reference.robot_spec.action.low), np.asarray(reference.robot_spec.action.high)
    apart, margins = list[float](), list[float]()
    for batch in batches(calls):
        views, states = [call.observation for call in batch], [call.state for call in batch]
        answers = (policy.act_batch(views, states) for policy in (fast, reference))
        for call, (ours, _), (theirs, _) in zip(batch, *answers, strict=True):
            if ours.subtasks != theirs.subtasks:
                margins.append(round(margin(reference, call, ours.subtasks, theirs.subtasks), 4))
                continue
            apart.append(float((np.abs(ours.actions - theirs.actions) / (high - low)).max()))
    return {
        "prompts": len(calls),
        "texts_equal": len(apart),
        "margins_of_others": margins,
        **{f"apart_p{share}": float(f"{np.quantile(apart, share / 100):.2g}") for share in (50, 99, 100)},
    }


def cpu_times(policies: dict[str, WLAPolicy], calls: Sequence[Call], count: int) -> dict[str, float]:
    """Median CPU time of a call in ms, of each policy with its own and with one flow step, all in turns."""
    spent: dict[str, list[float]] = {}
    for number in range(count):
        for steps in (None, FEW_STEPS):
            call = unlike_others(calls[number % len(calls)], 2 * number + (steps or 0))
            for name, policy in policies.items():
                began = time.process_time()
                policy.act(*call, flow_steps=steps)
                key = f"{name}_{steps or 'own'}_steps_cpu_ms"
                spent.setdefault(key, []).append(1000 * (time.process_time() - began))
    return {key: round(float(np.median(times[3:])), 2) for key, times in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", nargs="?", default="nano-memory")
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--calls", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    policies = {"reference": wla.load_policy(arguments.policy)}
    for precision in arguments.precision:
        policies[precision] = wla.load_policy(arguments.policy, fast=True, precision=precision)
    calls = prompts(policies["reference"])
    record = {"policy": arguments.policy, "threads": 1, "calls": arguments.calls}
    for name in arguments.precision:
        record |= {
            f"{name}_{what}": value for what, value in equality(policies["reference"], policies[name], calls).items()
        }
    record |= cpu_times(policies, calls[: arguments.calls], arguments.calls)
    store("fast_precision", record)
    for name in arguments.precision:
        print(name, "equal texts", record[f"{name}_texts_equal"], "of", record[f"{name}_prompts"])
        for steps in ("own", FEW_STEPS):
            ratio = record[f"reference_{steps}_steps_cpu_ms"] / record[f"{name}_{steps}_steps_cpu_ms"]
            print(f"{name}, {steps} steps: speedup {ratio:.2f}")


if __name__ == "__main__":
    main()
