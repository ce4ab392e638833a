"""Errors of predicted action chunks per dimension, beside two baselines that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.intervals import Interval, IntervalKind, mean_by_episode
from wla.specs import ActionSpec


@dataclass(frozen=True)
class Estimate:
    """A mean over calls and its 95 % interval by episode; None for a single episode."""

    mean: float
    interval: Interval | None


def estimate(values: Sequence[Sequence[float]], kind: IntervalKind = "by episode") -> Estimate | None:
    """The mean over calls, given by episode, with its interval; None without calls."""
    sums, counts = [sum(row) for row in values], [len(row) for row in values]
    if not any(counts):
        return None
    return Estimate(sum(sums) / sum(counts), mean_by_episode(sums, counts, kind=kind))


@dataclass(frozen=True)
class DimensionError:
    """Mean absolute error of an action dimension over whole chunks, in its unit.

    hold_still: error of repeating the last executed action (of 0, for a dimension that is a change). mean_action: error
    of always predicting the mean of the recorded actions.
    """

    name: str
    unit: str
    policy: Estimate
    hold_still: float
    mean_action: float

    @property
    def best(self) -> bool:
        """Whether the policy's error is below both baselines."""
        return self.policy.mean < min(self.hold_still, self.mean_action)


@dataclass
class EpisodeActions:
    """The calls in an episode. chunks: step -> predicted actions (n, A). errors: per call, (A,), of the policy and the
    baselines. percent: per call, the mean error in percent of each action's range."""

    chunks: dict[int, Float32[np.ndarray, "n A"]] = field(default_factory=dict)
    errors: list[Float64[np.ndarray, "3 A"]] = field(default_factory=list)
    percent: list[float] = field(default_factory=list)


class ActionErrors:
    """Collects the calls in episodes of a dataset with actions."""

    def __init__(self, dataset: LeRobotDataset, spec: ActionSpec, episodes: Sequence[Episode]) -> None:
        assert dataset.actions is not None
        self._dataset, self._actions, self._spec = dataset, dataset.actions, spec
        self._range = np.array(spec.high) - np.array(spec.low)
        self._is_delta = np.array([kind == "delta" for kind in spec.kinds])
        self._executed = dataset.action_executed
        rows = np.concatenate([self._actions[each.start : each.end] for each in episodes])
        self.mean_action: Float32[np.ndarray, " A"] = rows.mean(0, dtype=np.float64).astype(np.float32)
        self.episodes = {episode.index: EpisodeActions() for episode in episodes}

    def add(self, frame: int, predicted: Float32[np.ndarray, "n A"]) -> None:
        """Adds the chunk that was predicted at a frame."""
        episode = self._dataset.episode_of(frame)
        found = self.episodes[episode.index]
        recorded = self._recorded(frame, min(frame + len(predicted), int(self._dataset.run_end[frame])))
        guesses = (predicted[: len(recorded)], self.hold_still(frame), self.mean_action)
        errors = np.stack([np.abs(guess - recorded).mean(0, dtype=np.float64) for guess in guesses])
        found.chunks[frame - episode.start] = predicted
        found.errors.append(errors)
        moves = self._range > 0
        if moves.any():
            found.percent.append(100 * float((errors[0][moves] / self._range[moves]).mean()))

    def hold_still(self, frame: int) -> Float32[np.ndarray, " A"]:
        """The action that keeps the robot where it is: no change, or the last executed target (at the first step of an
        episode the recorded one)."""
        start = self._dataset.episode_of(frame).start
        return np.where(self._is_delta, 0.0, self._actions[max(start, frame - 1)]).astype(np.float32)

    def recorded_episode(self, index: int) -> tuple[Float32[np.ndarray, "T A"], int]:
        """The recorded actions of an episode, and its first frame."""
        episode = self._dataset.episodes[index]
        return self._actions[episode.start : episode.end], episode.start

    def percent(self) -> Estimate | None:
        return estimate([each.percent for each in self.episodes.values()])

    def dimensions(self) -> tuple[DimensionError, ...]:
        """The errors of each dimension, none without calls."""
        rows = [np.stack(each.errors) for each in self.episodes.values() if each.errors]
        if not rows:
            return ()
        baselines = np.concatenate(rows).mean(0)[1:]
        found = []
        for index, (name, unit) in enumerate(zip(self._spec.names, self._spec.units, strict=True)):
            own = estimate([row[:, 0, index].tolist() for row in rows])
            assert own is not None
            found.append(DimensionError(name, unit, own, *map(float, baselines[:, index])))
        return tuple(found)

    def _recorded(self, first: int, end: int) -> Float32[np.ndarray, "m A"]:
        """The recorded actions from a frame on, up to the first one that was not executed: the actions after that
        belong to states that its execution would not have led to."""
        not_executed = np.flatnonzero(~self._executed[first:end])
        return self._actions[first : first + int(not_executed[0]) + 1 if not_executed.size else end]
