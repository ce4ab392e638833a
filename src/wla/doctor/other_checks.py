"""Checks of an environment's gripper, motion, statistics and success."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float32

from wla.doctor.finding import Finding
from wla.doctor.state_checks import motion, opening_dimensions
from wla.doctor.trajectories import Trajectory, run
from wla.specs import RobotSpec
from wla.types import Env

PROBE_STEPS = 15
"""Steps for which a command is held to see what it moves."""
LAG = 3
"""Steps after which a gripper shows what it was commanded."""
TURN_SIGN = "turn the sign in the adapter"
ACCURATE = 1e-3
"""Difference of statistics, as a fraction of the range, that counts as equal."""


def check_spec(env: Env) -> Finding | None:
    """The first observation against what the environment states of its robot; None where they agree."""
    spec = env.robot_spec.observation
    raw, _ = env.reset(seed=0)
    images, state = raw["images"], raw["state"]
    problems = []
    if len(state) != spec.state_dim:
        problems.append(f"the state has {len(state)} numbers, and the robot's spec names {spec.state_dim}")
    for name, (height, width) in spec.cameras.items():
        if name not in images:
            problems.append(f"there is no image of the camera {name}")
        elif images[name].shape != (height, width, 3) or images[name].dtype != np.uint8:
            shown = f"{images[name].dtype} {images[name].shape}"
            problems.append(f"camera {name} gives {shown}, and the robot's spec says uint8 ({height}, {width}, 3)")
    return Finding("spec", "; ".join(problems), False, "let observations fit the spec") if problems else None


def check_gripper(
    env: Env, seed: int, recorded: Sequence[Trajectory], replayed: Sequence[Trajectory]
) -> tuple[Finding, frozenset[int]]:
    """Whether the gripper's command opens and closes as recorded, or else as the robot's spec says; and the dimensions
    of the state that are wrong because it does not."""
    spec = env.robot_spec
    command = next((index for index, name in enumerate(spec.action.names) if "gripper" in name), None)
    names = spec.observation.state_names
    opening = [index for index, name in enumerate(names) if "gripper" in name or index in opening_dimensions(names)]
    if command is None or not opening:
        return Finding("gripper", "not checked: no number of the state shows it", None), frozenset()
    if replayed:
        before, now = (_contrast(each, command, opening[0]) for each in (recorded, replayed))
        if before * now < 0:
            text = "the command that was recorded to open it closes it"
            return Finding("gripper", text, False, TURN_SIGN), frozenset(opening)
        if before and now:
            return Finding("gripper", "opens and closes as recorded", True), frozenset()
    commands = _stated_commands(spec)
    known = [index for index in opening if index in opening_dimensions(names)]
    if commands is None or not known:
        return Finding("gripper", f"not checked: {spec.action.gripper!r} does not say what opens it", None), frozenset()
    widths = [_held(env, seed, {command: value}).states[-1, known[0]] for value in commands]
    if widths[0] > widths[1]:
        return Finding("gripper", f"opens and closes as stated ({spec.action.gripper})", True), frozenset()
    text = f"{spec.action.gripper!r} is stated, and the command to open leaves {names[known[0]]} smaller"
    return Finding("gripper", text, False, TURN_SIGN), frozenset(known)


def check_motion(env: Env, seed: int) -> Finding:
    """Whether each delta of the action moves the number of the state that it names, in its direction."""
    spec = env.robot_spec
    names, reasons, checked = list(spec.observation.state_names), [], 0
    units = spec.observation.state_units
    for index, (name, kind) in enumerate(zip(spec.action.names, spec.action.kinds, strict=True)):
        moved = name.removeprefix("d")
        if kind != "delta" or moved not in names:
            continue
        checked += 1
        own = names.index(moved)
        up, down = (_held(env, seed, {index: limits[index]}) for limits in (spec.action.high, spec.action.low))
        effect = motion(up.states, names, spec.action.frame) - motion(down.states, names, spec.action.frame)
        alike = [each for each in range(len(names)) if units[each] == units[own]]
        most = max(alike, key=lambda each: abs(effect[each]))
        if abs(effect[own]) < 0.5 * abs(effect[most]):
            reasons.append(f"{name} moves {names[most]} (order of the state or of the action)")
        elif effect[own] < 0:
            reasons.append(f"{name} moves {moved} the other way (sign)")
    if reasons:
        return Finding("motion", "; ".join(reasons), False, "name and order the numbers as the simulator does")
    if not checked:
        return Finding("motion", "not checked: no delta of the action is named after a number of the state", None)
    return Finding("motion", f"{checked} deltas move what they name", True)


def check_statistics(where: str, stated: Mapping[str, Sequence[float]], rows: Float32[np.ndarray, "N D"]) -> Finding:
    """Whether stated minima and maxima are those of the frames, and not their quantiles.

    where: who states them. stated: min and max, and perhaps q01 and q99, which may be means over episodes.
    """
    values = rows.astype(np.float64)
    extremes, quantiles = np.quantile(values, [0, 1], axis=0), [np.quantile(values, [0.01, 0.99], axis=0)]
    if {"q01", "q99"} <= stated.keys():
        quantiles.append(np.array([stated["q01"], stated["q99"]], np.float64))
    given = np.array([stated["min"], stated["max"]], np.float64)
    if given.shape != extremes.shape:
        return Finding("statistics", f"{where} has {given.shape[1]} dimensions, the frames {extremes.shape[1]}", False)
    span = np.maximum(np.ptp(values, axis=0), 1e-9)
    to_extremes, *to_quantiles = (float((np.abs(given - each) / span).max()) for each in (extremes, *quantiles))
    if to_extremes <= ACCURATE:
        return Finding("statistics", f"{where}: min and max are those of the frames", True)
    fix = "normalise as in training: `wla data stats DATASET --out FILE` computes all kinds"
    if min(to_quantiles) < 0.3 * to_extremes:
        return Finding("statistics", f"{where}: min and max are the 1 % and 99 % quantiles of the frames", False, fix)
    worst = int((np.abs(given - extremes) / span).max(0).argmax())
    text = f"dimension {worst} is stated as {given[0, worst]:.4g} .. {given[1, worst]:.4g}"
    reach = f"the frames have {extremes[0, worst]:.4g} .. {extremes[1, worst]:.4g}"
    return Finding("statistics", f"{where}: {text}, {reach}", False, fix)


def check_success(
    recorded: Sequence[Trajectory], replayed: Sequence[Trajectory], expert: Sequence[Trajectory]
) -> Finding:
    """Whether recorded successes succeed again, and the expert where there are none."""
    pairs = [other.success for one, other in zip(recorded, replayed, strict=False) if one.success]
    own = [each.success for each in expert]
    outcomes, what = (pairs, "recorded successes") if pairs else (own, "episodes of the expert")
    if not outcomes:
        return Finding("success", "not checked: there are no recorded successes of known seeds, and no expert", None)
    text = f"{outcomes.count(True)} of {len(outcomes)} {what} succeed"
    if not any(outcomes):
        hint = "compare the rule of success, the limit of steps and the lines above"
        return Finding("success", text, False, hint)
    return Finding("success", text, True if all(outcomes) else None)


def _contrast(trajectories: Sequence[Trajectory], command: int, opening: int) -> float:
    """Mean opening after a high command minus that after a low one; 0 without either."""
    commands = np.concatenate([each.actions[:-LAG, command] for each in trajectories])
    openings = np.concatenate([each.states[LAG:, opening] for each in trajectories])
    if not len(commands) or np.ptp(commands) == 0:
        return 0.0
    high = commands > (commands.min() + commands.max()) / 2
    return float(openings[high].mean() - openings[~high].mean())


def _held(env: Env, seed: int, command: Mapping[int, float]) -> Trajectory:
    """Some steps of one command, with nothing else moving."""
    spec = env.robot_spec.action
    action = np.array([0.0 if kind == "delta" else low for kind, low in zip(spec.kinds, spec.low, strict=True)])
    for index, value in command.items():
        action[index] = value
    steps = action.astype(np.float32)
    return run(env, seed, lambda step, _: steps if step < PROBE_STEPS else None)


def _stated_commands(spec: RobotSpec) -> tuple[float, float] | None:
    """The commands that open and close a gripper, as "-1 open .. 1 closed" states them."""
    found = {word: float(value) for value, word in re.findall(r"(-?[\d.]+) (open|closed)", spec.action.gripper)}
    return (found["open"], found["closed"]) if len(found) == 2 else None
