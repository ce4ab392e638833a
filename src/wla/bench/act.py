"""Latency of acting: by path through the policy and by flow steps, and how far the paths agree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from wla.bench.results import Results, parity
from wla.bench.timing import Budget, Timed, in_turns
from wla.hardware import cores
from wla.models import WLA, require_model
from wla.models.inference.compiled_parts import CompiledActionExpert
from wla.models.inference.function_sets import FunctionSet, acting_functions, image_functions
from wla.models.inference.package import require_products
from wla.policy import WLAPolicy
from wla.policy.compiled_functions import missing
from wla.types import ActionChunk, Observation, PolicyState, Precision

PATHS: Mapping[str, Mapping[str, Any]] = {
    "reference": {},
    "fast": {"fast": True},
    "fast in bfloat16": {"fast": True, "precision": "bfloat16"},
}
"""Way through a policy -> the options of `load_policy` that choose it. The others are compared with the first."""
COMPILE_SECONDS = 15.0
"""About the CPU time that a function of nano takes to compile."""
FEW_STEPS = (4, 2, 1)
"""Flow steps beside a policy's own number."""


class Call(NamedTuple):
    """What a policy is asked at a step of an episode."""

    observation: Observation
    state: PolicyState


Answer = tuple[ActionChunk, PolicyState]


def load_paths(
    results: Results,
    title: str,
    load: Callable[..., WLAPolicy],
    budget: Budget,
    more: Callable[[Precision], FunctionSet | None] = lambda _: None,
) -> dict[str, WLAPolicy]:
    """A policy for each path that there is on this machine, and time to compile it; the others are open.

    more: other functions that a path needs, by their precision.
    """
    first, *others = PATHS
    found = {first: load(**PATHS[first])}
    for path in others:
        lacks = _lacks(PATHS[path], found[first], budget, more)
        if not lacks:
            policy = load(**PATHS[path])
            if isinstance(require_model(policy.model, WLA, policy.name).action_expert, CompiledActionExpert):
                found[path] = policy
            else:
                lacks = "nothing is compiled for this policy here"
        if lacks:
            results.open[f"{title}, {path}"] = lacks
    return found


def _lacks(
    options: Mapping[str, Any], reference: WLAPolicy, budget: Budget, more: Callable[[Precision], FunctionSet | None]
) -> str:
    """Why there is no such path on this machine; '' where nothing is known to stand in its way."""
    if reference.device.type != "cpu":
        return f"nothing is compiled on {reference.device.type}"
    precision = options.get("precision", "float32")
    try:
        require_products(precision)
    except ValueError as error:
        return str(error)
    model = require_model(reference.model, WLA, reference.name)
    count = missing([acting_functions(model, precision), image_functions(model, precision), more(precision)])
    seconds = count * COMPILE_SECONDS / min(cores(), max(1, count))
    if seconds > budget.left / 2:
        return f"{count} functions are not compiled yet, about {seconds:.0f} s: name more --minutes (they are kept)"
    return ""


def own_steps(policy: WLAPolicy) -> int:
    """Returns the policy's own number of flow steps. ValueError for a model of another kind."""
    return require_model(policy.model, WLA, f"policy {policy.name}").config.action_expert.flow_steps


def unlike_others(call: Call, number: int) -> Call:
    """The call with two pixels of each image changed: a path may remember what it has read, and no call is to gain
    from another one. number: below 65536."""
    images = {name: image.copy() for name, image in call.observation.images.items()}
    for image in images.values():
        image[0, :2, 0] = divmod(number, 256)
    return call._replace(observation=replace(call.observation, images=images))


def measure_act(
    results: Results, title: str, paths: Mapping[str, WLAPolicy], calls: Sequence[Call], rounds: int, budget: Budget
) -> None:
    """Adds a row for each path and number of flow steps, all timed in turns on the same calls, and compares them."""
    policy = next(iter(paths.values()))
    own = own_steps(policy)
    steps = [own, *(count for count in FEW_STEPS if count < own)]
    names = {(path, count): f"{title}, {path}, {steps_text(count)}" for path in paths for count in steps}
    asked = {
        count: [unlike_others(call, first + index) for index, call in enumerate(calls)]
        for count, first in zip(steps, range(0, len(steps) * len(calls), len(calls)), strict=True)
    }

    def act(path: str, count: int, number: int) -> Answer:
        call = asked[count][number % len(calls)]
        return paths[path].act(call.observation, call.state, flow_steps=count)

    timed = in_turns({name: partial(act, *key) for key, name in names.items()}, rounds, budget, policy.device)
    for name, found in timed.items():
        results.add_times(name, found.ms)
    first, *others = paths
    for path in others:
        for count in steps:
            before, after = names[first, count], names[path, count]
            note = agreement(timed[before], timed[after])
            results.compare(f"{title}, {steps_text(count)}: {path} against {first}", before, after, "p50 ms", note)
    for count in steps[1:]:
        what = f"{title}, {first}: {steps_text(count)} against {own}"
        results.compare(what, names[first, own], names[first, count], "p50 ms")


def agreement(reference: Timed[Answer], other: Timed[Answer]) -> str:
    """How far two paths agree on the same calls: largest difference of actions, and equal texts."""
    ours, theirs = ([chunk for chunk, _ in timed.values] for timed in (reference, other))
    difference = parity([chunk.actions for chunk in ours], [chunk.actions for chunk in theirs])
    equal = np.sum([one.subtasks == two.subtasks for one, two in zip(ours, theirs, strict=True)])
    return f"actions differ by {difference:.1g} of their range, texts equal in {equal} of {len(ours)}"


def steps_text(count: int) -> str:
    return f"{count} step{'s' * (count > 1)}"
