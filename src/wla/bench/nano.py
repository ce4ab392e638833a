"""Acting of a small policy on the CPU, on observations of its own episodes and with its own texts; its training."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from wla.bench.act import PATHS, Answer, Call, load_paths, measure_act, unlike_others
from wla.bench.results import Results
from wla.bench.timing import Budget, Timed, in_turns
from wla.bench.train import measure_training
from wla.policy import BestOfNPolicy, BestOfNPolicyConfig, WLAPolicy, fetch_checkpoint, load_policy, load_value
from wla.policy.fast_value import scoring_functions
from wla.types import Observation

TITLE, TRAINING, VALUE = "act, nano", "train, nano", "nano-value"
CANDIDATES = (2, 8)
CALLS, CANDIDATE_CALLS, SAMPLES = 100, 20, 64
ACTING_SHARE = 0.75
"""Of the time for this policy; candidates have the rest."""
SEED = 10_000
"""Of the first episode; a validation seed."""


def measure_nano_act(results: Results, name: str, budget: Budget) -> None:
    """Adds the rows of the policy `name`: by path and flow steps, without a draft of its text, with candidates, and
    the memory of a process that only acts."""
    acting = budget.share(ACTING_SHARE)
    with results.section(TITLE):
        paths = load_paths(results, TITLE, partial(load_policy, name, device="cpu"), acting)
        policy = paths["reference"]
        calls = recorded_calls(policy, CALLS)
        measure_act(results, TITLE, paths, calls, CALLS, acting.share(0.5))
        if results.in_time(f"{TITLE}, text", acting):
            measure_texts(results, policy, calls, acting.share(0.5))
        for path in paths:
            if results.in_time(row := f"{TITLE}, {path}, memory of its process", acting):
                results.add(row, peak_MiB=peak_memory_mib(name, path))
    with results.section(f"{TITLE}, candidates"):
        if results.in_time(f"{TITLE}, candidates", budget):
            measure_candidates(results, name, calls, budget)


def recorded_calls(policy: WLAPolicy, count: int) -> list[Call]:
    """The calls of a policy that acts at every step of episodes on the tabletop. ModuleNotFoundError without mujoco."""
    from wla.envs.registry import make_env

    env = make_env("tabletop", task="place")
    seed, calls, ended = SEED, list[Call](), True
    while len(calls) < count:
        if ended:
            raw, info = env.reset(seed=seed)
            state, seed = policy.reset(info["instruction"], seed=seed), seed + 1
        calls.append(Call(Observation(**raw), state))
        chunk, state = policy.act(*calls[-1])
        raw, _, terminated, truncated, _ = env.step(chunk.actions[0])
        ended = terminated or truncated
    env.close()
    return calls


def measure_texts(results: Results, policy: WLAPolicy, calls: list[Call], budget: Budget) -> None:
    """Adds acting with the text of the last call as a draft, and without: decoded token by token."""
    if not policy.predicts_subtasks:
        return
    drafted, plain = f"{TITLE}, text with a draft", f"{TITLE}, text decoded token by token"

    undrafted = [call._replace(state=replace(call.state, subtasks=())) for call in calls]

    def act(asked: list[Call], number: int) -> Answer:
        return policy.act(*asked[number % len(asked)])

    variants = {plain: partial(act, undrafted), drafted: partial(act, calls)}
    for name, found in in_turns(variants, CALLS, budget, policy.device).items():
        results.add_times(name, found.ms)
    results.compare(f"{TITLE}: a draft of the text", plain, drafted, "p50 ms")


def measure_candidates(results: Results, name: str, calls: list[Call], budget: Budget) -> None:
    """Adds acting with the best of several candidates, imagined and scored, by path, and how often the paths choose
    the same one."""
    title = f"{TITLE}, candidates"
    load = partial(load_policy, name, device="cpu", imagination=True)
    paths = load_paths(results, title, load, budget, partial(scoring_functions, load_value(VALUE)))
    values = {path: load_value(VALUE, **PATHS[path]) for path in paths}
    asked = {
        count: [unlike_others(call, first + index) for index, call in enumerate(calls)]
        for first, count in zip(range(0, len(CANDIDATES) * len(calls), len(calls)), CANDIDATES, strict=True)
    }

    def act(path: str, count: int, number: int) -> Answer:
        choice = BestOfNPolicy(paths[path], values[path], BestOfNPolicyConfig(num_candidates=count))
        return choice.act(*asked[count][number % len(calls)])

    names = {(path, count): f"{TITLE}, {path}, best of {count}" for path in paths for count in CANDIDATES}
    device = paths["reference"].device
    timed = in_turns({row: partial(act, *key) for key, row in names.items()}, CANDIDATE_CALLS, budget, device)
    for row, found in timed.items():
        results.add_times(row, found.ms)
    first, *others = paths
    for path in others:
        for count in CANDIDATES:
            before, after = names[first, count], names[path, count]
            what = f"{TITLE}, best of {count}: {path} against {first}"
            results.compare(what, before, after, "p50 ms", same_choice(timed[before], timed[after]))


def same_choice(reference: Timed[Answer], other: Timed[Answer]) -> str:
    """How often two paths choose the same candidate on the same calls, and how far its scores differ."""
    pairs = [
        (ours.candidates, theirs.candidates)
        for (ours, _), (theirs, _) in zip(reference.values, other.values, strict=True)
        if ours.candidates is not None and theirs.candidates is not None
    ]
    equal = sum(ours.selected == theirs.selected for ours, theirs in pairs)
    difference = max(np.abs(ours.scores - theirs.scores).max() for ours, theirs in pairs)
    return f"same candidate in {equal} of {len(pairs)}, scores differ by {difference:.1g}"


def measure_nano_training(results: Results, name: str, budget: Budget) -> None:
    """Adds training of the policy `name` on the CPU, all of its parts."""
    checkpoint = fetch_checkpoint(name)
    measure_training(results, TRAINING, checkpoint, SAMPLES, torch.device("cpu"), budget)


def peak_memory_mib(name: str, path: str) -> int:
    """Largest resident memory of a process that loads the policy and acts on noise."""
    command = [sys.executable, "-m", "wla.bench.peak_memory", name, path]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
