"""Comparison of an environment's states with recorded ones, in the same steps of the same episodes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial.transform import Rotation

from wla.doctor.finding import Finding
from wla.doctor.trajectories import Trajectory
from wla.specs import Frame

STEPS = 20
"""First steps of each episode that are compared: later ones drift apart where versions of the simulator differ."""
TOLERANCE = 0.03
"""Difference of a number, as a fraction of its recorded range, that counts as equal."""
SAME_ROTATION = 0.1
"""Radians between two rotations that count as the same."""
Pairs = tuple[Float64[np.ndarray, "N S"], Float64[np.ndarray, "N S"]]


def check_state(
    names: Sequence[str], recorded: Sequence[Trajectory], replayed: Sequence[Trajectory], skip: frozenset[int]
) -> Finding:
    """Whether each number of the state is the recorded one: order, sign, unit, origin, source.

    Where the starts are, and later states are not, it is the actions that are executed in another way. skip: dimensions
    that other checks have found wrong.
    """
    if not replayed:
        return Finding("state", "not checked: give recorded episodes of known seeds with --dataset", None)
    ours, theirs = (each[0].states.shape[1] for each in (replayed, recorded))
    if ours != theirs:
        return Finding("state", f"has {ours} numbers and {theirs} were recorded", False, "choose the recorded ones")
    before, now = pair_up(recorded, replayed)
    everything = np.concatenate([each.states for each in recorded]).astype(np.float64)
    tolerance = np.maximum(TOLERANCE * np.ptp(everything, axis=0), 1e-4)
    wrong = [
        index
        for index in range(ours)
        if index not in skip and np.median(np.abs(before[:, index] - now[:, index])) > tolerance[index]
    ]
    if not wrong:
        return Finding("state", f"{len(before)} steps are as recorded", True)
    ends = np.cumsum([0, *(_compared(*pair) for pair in zip(recorded, replayed, strict=True))])
    if (np.abs(before - now)[ends[:-1]][:, wrong] <= tolerance[wrong]).all():
        last = np.abs(before - now)[ends[1:] - 1].max(0)
        moved = ", ".join(f"{names[index]} {last[index]:.3g}" for index in wrong)
        text = f"the starts are as recorded; after {STEPS} steps of the same actions the state is elsewhere ({moved})"
        return Finding("actions", text, False, "execute them in the recorded order, sign, unit and rate")
    reasons = dict.fromkeys(_reason(index, before, now, tolerance, names) for index in wrong)
    return Finding("state", "; ".join(reasons), False, "build the state as the recording did")


def check_rotations(
    names: Sequence[str], recorded: Sequence[Trajectory], replayed: Sequence[Trajectory]
) -> tuple[list[Finding], frozenset[int]]:
    """Whether rotations have the recorded one of their two representations; and the dimensions where they have not.

    A quaternion and its negative are the same rotation, and so are rotation vectors that differ by a full turn. To a
    policy they are different numbers.
    """
    findings, wrong = [], set()
    for kind, indices in rotations(names):
        what = f"{kind} {names[indices[0]]} .. {names[indices[-1]]}"
        if not replayed or replayed[0].states.shape[1] != recorded[0].states.shape[1]:
            findings.append(Finding("rotation", f"{what}: not checked without recorded episodes of known seeds", None))
            continue
        before, now = (each[:, indices] for each in pair_up(recorded, replayed))
        share = _antipodes(kind, before, now)
        if share is None:
            continue  # another rotation: the check of the state says so
        if share:
            wrong |= set(indices)
            text = f"{what} is the recorded rotation in its other representation (antipode) in {100 * share:.0f} %"
            hint = "choose the sign as recorded" if kind == "quaternion" else "choose the angle as recorded"
            findings.append(Finding("rotation", f"{text} of the steps", False, f"{hint}, before anything reads it"))
        else:
            findings.append(Finding("rotation", f"{what} has the recorded sign", True))
    return findings, frozenset(wrong)


def rotations(names: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Kind and dimensions (quaternions w first) of the rotations that the names of a state show."""
    found = []
    for kind, axes in (("quaternion", ("qw", "qx", "qy", "qz")), ("axis-angle", ("rx", "ry", "rz"))):
        for prefix in dict.fromkeys(name.removesuffix(axes[0]) for name in names if name.endswith(axes[0])):
            parts = [f"{prefix}{axis}" for axis in axes]
            if all(part in names for part in parts):
                found.append((kind, [list(names).index(part) for part in parts]))
    return found


def pair_up(recorded: Sequence[Trajectory], replayed: Sequence[Trajectory]) -> Pairs:
    """The first states of each pair of episodes, one below the other."""
    rows: list[tuple[Float32[np.ndarray, "n S"], Float32[np.ndarray, "n S"]]] = []
    for one, other in zip(recorded, replayed, strict=True):
        steps = _compared(one, other)
        rows.append((one.states[:steps], other.states[:steps]))
    before, now = (np.concatenate(part).astype(np.float64) for part in zip(*rows, strict=True))
    return before, now


def _compared(one: Trajectory, other: Trajectory) -> int:
    return min(STEPS, len(one.states), len(other.states))


def _reason(
    index: int,
    before: Float64[np.ndarray, "N S"],
    now: Float64[np.ndarray, "N S"],
    tolerance: Float64[np.ndarray, " S"],
    names: Sequence[str],
) -> str:
    """Why a number differs: the simplest change that explains it."""
    name, wanted, allowed = names[index], before[:, index], tolerance[index]
    off = np.median(np.abs(now - wanted[:, None]), axis=0)
    nearest = int(off.argmin())
    if nearest != index and off[nearest] <= allowed:
        return f"the recorded {name} stands where {names[nearest]} belongs (order)"
    have = now[:, index]
    if np.median(np.abs(wanted + have)) <= allowed:
        return f"{name} has the other sign"
    shift = float(np.median(wanted - have))
    if np.median(np.abs(wanted - have - shift)) <= allowed and np.ptp(have) > 0.5 * np.ptp(wanted):
        return f"{name} was recorded {shift:+.3g} higher (another origin or source)"
    if np.ptp(have) > 0:
        factor, constant = np.polyfit(have, wanted, 1)
        if np.median(np.abs(factor * have + constant - wanted)) <= allowed and abs(factor) > 1e-9:
            return f"{name} was recorded {factor:.3g} times as large (another unit)"
    return f"{name} is {np.median(np.abs(wanted - have)):.3g} from the recorded one (another source)"


def _antipodes(kind: str, before: Float64[np.ndarray, "N D"], now: Float64[np.ndarray, "N D"]) -> float | None:
    """Fraction of the steps in which the same rotation has other numbers; None where the rotations differ."""
    if min(np.linalg.norm(before, axis=1).min(), np.linalg.norm(now, axis=1).min()) < 1e-6 and kind == "quaternion":
        return None
    one, other = (
        Rotation.from_quat(each, scalar_first=True) if kind == "quaternion" else Rotation.from_rotvec(each)
        for each in (before, now)
    )
    if np.median((one.inv() * other).magnitude()) > SAME_ROTATION:
        return None
    if kind == "quaternion":
        return float(((before * now).sum(1) < 0).mean())
    return float((np.linalg.norm(before - now, axis=1) > np.pi).mean())


def motion(states: Float32[np.ndarray, "T S"], names: Sequence[str], frame: Frame) -> Float64[np.ndarray, " S"]:
    """What each number of a state moved by; rotation vectors: the angles turned about the axes of the frame.

    A rotation vector's own numbers tell no axis: of a hand that points down, a turn about y changes the third.
    """
    total = states[-1].astype(np.float64) - states[0]
    for kind, indices in rotations(names):
        if kind == "axis-angle":
            turned = Rotation.from_rotvec(states[:, indices])
            before, after = turned[:-1], turned[1:]
            steps = before.inv() * after if frame == "tool" else after * before.inv()
            total[indices] = steps.as_rotvec().sum(0)
    return total


def opening_dimensions(names: Sequence[str]) -> list[int]:
    """Dimensions of a state that grow as a gripper opens, by their names."""
    return [index for index, name in enumerate(names) if re.search("width|opening|finger", name)]
