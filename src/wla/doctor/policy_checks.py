"""The normalisation of a checkpoint, compared with the states and actions that an environment shows.

How far the episodes of an environment reach in the range that a checkpoint scales to [-1, 1] is measured in the
checkpoint's own kind of statistics: their quantiles in its quantiles, their minima and maxima in its minima and maxima.
What statistics cannot show is a mode that is another one than in training, where each kind of them is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy.optimize import linear_sum_assignment

from wla.data.action_representation import ActionRepresentation
from wla.data.normalize import MIN_RANGE, NormalizationMode, Normalizer, VectorStatistics, center_and_scale
from wla.doctor.finding import Finding
from wla.doctor.trajectories import Trajectory
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import CONFIG
from wla.policy.hub import load_from
from wla.policy.robots import PolicyRobot, choose_robot, read_robots
from wla.specs import RobotSpec

FAR: dict[NormalizationMode, float] = {"MIN_MAX": 1.5, "QUANTILES": 1.5, "QUANTILE10": 3.0, "MEAN_STD": 3.0}
"""Reach of a number, as a multiple of the checkpoint's range, above which its statistics are those of something else.

Three episodes of each of five tasks of the tabletop reach 1.0, 1.1, 1.4 and 1.3 times the range of training data of the
same tasks; of one task alone at most 1.0, 1.1, 2.0 and 2.7 times. With two unlike numbers exchanged they reach at least
2.5, 2.8, 2.1 and 2.0 times: of the latter two kinds, the mildest exchanges are not seen. `nano-memory`, with the
statistics of the policy that it continues, reaches 1.4 times in the yaw of one task.
"""
NARROW = 0.05
"""Fraction of the range below which a number hardly uses it: single tasks of the tabletop use at least 0.2."""
BEYOND = 1.001
"""Reach that counts as outside, above the rounding of float32."""


@dataclass(frozen=True)
class CheckedPolicy:
    """What a checkpoint states of its normalisation; its weights are not read."""

    name: str
    config: CheckpointConfig
    robots: tuple[PolicyRobot, ...]

    @classmethod
    def load(cls, name: str) -> Self:
        """ValueError where there is no such policy, or a file of it is missing or damaged."""
        return load_from(name, lambda folder: cls(name, CheckpointConfig.load(folder / CONFIG), read_robots(folder)))

    def check(self, spec: RobotSpec, episodes: Sequence[Trajectory]) -> list[Finding]:
        """What is found about its states and actions. spec, episodes: of the environment."""
        try:
            robot = choose_robot(self.robots, spec, self.name)
            spec.require_equal(robot.spec, ours="the environment", theirs=self.name)
        except ValueError as error:
            return [Finding("robot", str(error), False)]
        if not episodes:
            return [Finding("policy", "not checked: there is no expert; give recorded episodes with --dataset", None)]
        config = self.config
        modes, interface = config.normalization, config.model.interface
        transform = robot.transform(interface, modes, config.action_representation, several=len(self.robots) > 1)
        represented = transform.actions.representation
        states = np.concatenate([each.states for each in episodes])
        actions = np.concatenate([_represented(each, represented, interface.chunk) for each in episodes])
        names = spec.observation.state_names
        return [
            check_range("state", states, transform.state, modes.state, names),
            check_range("action", actions, transform.actions.normalizer, modes.action, represented.names),
        ]


def check_range(
    what: str,
    rows: Float32[np.ndarray, "N D"],
    normalizer: Normalizer,
    mode: NormalizationMode,
    names: Sequence[str],
) -> Finding:
    """Whether rows of an environment lie in the range of a checkpoint and use it, and else which number does not."""
    if mode == "IDENTITY":
        return Finding(what, "is not normalised (IDENTITY)", None)
    shown = VectorStatistics.of([rows])
    center, half = center_and_scale(shown, mode, what)
    varies = np.array(shown.max) - np.array(shown.min) > MIN_RANGE
    reach = _reach(center - half, center + half, varies, normalizer)
    own, limit = np.diagonal(reach), FAR[mode]
    used = half * normalizer.inverse_scale
    ranges = [
        f"{name} has {low:.3g} .. {high:.3g} here and {least:.3g} .. {most:.3g} in the checkpoint's {mode}"
        for name, low, high, least, most in zip(
            names,
            center - half,
            center + half,
            normalizer.center - normalizer.scale,
            normalizer.center + normalizer.scale,
            strict=True,
        )
    ]
    if (own > limit).any():
        order = _order(reach, varies, limit)
        if order is not None:
            moved = [f"{names[i]} fits the range of {names[j]}" for i, j in enumerate(order) if i != j]
            fix = "bring the state, or the checkpoint's statistics, into the order of training"
            return Finding(what, f"{', '.join(moved)} (order)", False, fix)
        fix = "take the statistics of this robot, in these units, that it was trained with"
        return Finding(what, f"{_listed(ranges, own > limit)} (another entry or unit)", False, fix)
    outside = own > BEYOND if mode == "MIN_MAX" else np.zeros_like(varies)  # others are estimates, or averages
    narrow = varies & (used < NARROW)
    if outside.sum() >= max(2, varies.sum() / 2):
        share = (np.abs(normalizer.normalize(rows)) > BEYOND).mean(0)
        found = [f"{name} in {100 * each:.1f} %" for name, each in zip(names, share, strict=True)]
        text = f"goes beyond the minima and maxima of the checkpoint: {_listed(found, outside)} of {len(rows)} steps"
        fix = "they are quantiles (then the mode is QUANTILES), or those of too few episodes or of other tasks"
        return Finding(what, text, False, fix)
    if narrow.any() and narrow.sum() >= varies.sum() / 2:
        fix = "take the statistics of this robot, in these units, that it was trained with"
        return Finding(what, f"{_listed(ranges, narrow)} (another entry or unit)", False, fix)
    if (outside | narrow).any():
        return Finding(what, f"{_listed(ranges, outside | narrow)}, which other tasks may explain", None)
    uses = f"{100 * used[varies].min():.0f} .. {100 * used[varies].max():.0f} %" if varies.any() else "nothing"
    return Finding(what, f"{len(rows)} steps lie in the range of {mode} and use {uses} of it", True)


def _represented(episode: Trajectory, representation: ActionRepresentation, chunk: int) -> Float32[np.ndarray, "N D"]:
    """The actions as the model represents them: of relative ones, those of the chunk from each step."""
    steps = chunk if representation.relative else 1
    starts = range(len(episode.actions))
    rows = [
        representation.encode(episode.actions[None, start : start + steps], episode.states[None, start])[0]
        for start in starts
    ]
    return np.concatenate(rows).astype(np.float32)


def _reach(
    low: Float64[np.ndarray, " D"],
    high: Float64[np.ndarray, " D"],
    varies: Bool[np.ndarray, " D"],
    normalizer: Normalizer,
) -> Float64[np.ndarray, "D D"]:
    """How far each number would reach in each entry of the statistics; 1: to the border of its range."""
    distance = np.maximum(np.abs(low[:, None] - normalizer.center), np.abs(high[:, None] - normalizer.center))
    constant = np.where(varies, np.inf, 0.0)[:, None]  # an entry without range fits what does not vary either
    return np.where(normalizer.scale > 0, distance * normalizer.inverse_scale, constant)


def _order(reach: Float64[np.ndarray, "D D"], varies: Bool[np.ndarray, " D"], limit: float) -> list[int] | None:
    """The entry that fits each number, where another order explains all that is off; None where none does.

    As few as possible move, and none that does not vary: it would fit anywhere.
    """
    excess = np.log(np.clip(reach, 1.0, 1e6)) + 1e-6 * ~np.eye(len(reach), dtype=bool)
    numbers, entries = linear_sum_assignment(excess)
    moved = numbers != entries
    if (reach[numbers, entries] > limit).any() or (moved & ~varies).any():
        return None
    return [int(entry) for entry in entries]


def _listed(texts: Sequence[str], which: Bool[np.ndarray, " D"]) -> str:
    """Three of the texts, and how many more there are."""
    chosen = [text for text, wanted in zip(texts, which, strict=True) if wanted]
    more = f", and {len(chosen) - 3} more" if len(chosen) > 3 else ""
    return ", ".join(chosen[:3]) + more
