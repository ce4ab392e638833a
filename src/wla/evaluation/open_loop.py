"""Open-loop evaluation on recorded episodes: predicted subtasks, actions and images against the recording."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.data.transforms import resize
from wla.evaluation.configs import OpenLoopConfig
from wla.evaluation.subtask_rates import SubtaskRates, subtask_rates
from wla.intervals import Interval, IntervalKind, mean_by_episode
from wla.rollout.recorded_episodes import (
    RecordedCall,
    load_baseline,
    load_with_dataset,
    replay_episodes,
    steps_until_next_call,
)
from wla.rollout.subtask_metrics import TOLERANCE_S, SubtaskMetrics
from wla.specs import RobotSpec
from wla.types import ActionChunk, PolicyState

MOTION_LEVELS, MOTION_FRACTION = 24, 0.005
"""Two images differ by motion when at least this fraction of the pixels changed by at least this many levels."""
BATCH_SIZE = 32
Image = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Estimate:
    """A mean over calls and its 95 % interval by episode; None for a single episode."""

    mean: float
    interval: Interval | None


@dataclass(frozen=True)
class OpenLoopMetrics:
    """Metrics over the calls of a policy in recorded episodes. None: not measured, for the reason in `not_measured`.

    subtasks: see `docs/conventions.md`; the reference is the recorded labels. action_error: mean absolute error of the
    chunks in percent of each action's range. imagined_psnr, copy_baseline_psnr: mean PSNR in dB of the imagined image
    and of the current frame against the frame at the chunk's end, over the `moving_frames` calls that have motion in
    between. psnr_gain: their difference.
    """

    policy: str
    checkpoint_sha256: str | None
    dataset: str
    episodes: int
    calls: int
    subtasks: SubtaskRates | None
    action_error: Estimate | None
    imagined_psnr: Estimate | None
    copy_baseline_psnr: Estimate | None
    psnr_gain: Estimate | None
    moving_frames: int
    not_measured: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False)


def evaluate_open_loop(config: OpenLoopConfig) -> OpenLoopMetrics:
    """Returns the metrics of a policy's predictions at its calls in recorded episodes, see `replay_episodes`.

    ValueError when the dataset is of a different robot, or has nothing to compare the policy's predictions with.
    """
    policy, dataset = load_baseline(config.policy, config.dataset) or load_with_dataset(
        config.policy, config.dataset, imagination=config.imagine, device=config.device
    )
    chosen = np.unique(np.linspace(0, len(dataset.episodes) - 1, config.episodes).round().astype(int))
    episodes = [dataset.episodes[index] for index in chosen]
    imagine = config.imagine and getattr(policy, "imagination", None) is not None
    comparison = _Comparison(dataset, policy.robot_spec, episodes)

    def answer(calls: Sequence[RecordedCall[Any]]) -> list[tuple[int, Any]]:
        answers = policy.act_batch(
            [call.observation for call in calls], [call.state for call in calls], imagine=imagine
        )
        for call, (chunk, state) in zip(calls, answers, strict=True):
            comparison.add(call.frame, chunk, state)
        return [(steps_until_next_call(chunk), state) for chunk, state in answers]

    replay_episodes(policy, dataset, episodes, answer, batch_size=BATCH_SIZE, description="predicting")
    metrics = comparison.metrics(config, policy.checkpoint_sha256)
    if metrics.subtasks is None and metrics.action_error is None and metrics.imagined_psnr is None:
        reasons = ", ".join(metrics.not_measured.values())
        raise ValueError(f"{config.dataset}: nothing to compare policy {config.policy} with: {reasons}")
    return metrics


@dataclass
class _EpisodeComparison:
    """Predictions of an episode: subtasks, and per call the error of the actions and the PSNR of moving images."""

    subtasks: SubtaskMetrics
    action_errors: list[float] = field(default_factory=list)
    imagined_psnrs: list[float] = field(default_factory=list)
    copy_psnrs: list[float] = field(default_factory=list)

    @property
    def psnr_gains(self) -> list[float]:
        return [imagined - copied for imagined, copied in zip(self.imagined_psnrs, self.copy_psnrs, strict=True)]


class _Comparison:
    """Collects the calls in these episodes."""

    def __init__(self, dataset: LeRobotDataset, robot: RobotSpec, episodes: Sequence[Episode]) -> None:
        self._dataset, self._primary = dataset, robot.observation.primary_camera
        self._range = np.array(robot.action.high) - np.array(robot.action.low)
        self._executed = dataset.action_executed
        tolerance = round(TOLERANCE_S * robot.action.rate_hz)
        self._episodes = {
            episode.index: _EpisodeComparison(SubtaskMetrics(tolerance, _labels(dataset, episode)))
            for episode in episodes
        }
        self._calls = self._num_images = 0

    def add(self, frame: int, chunk: ActionChunk, state: object) -> None:
        """Adds the call at a frame. state: the policy's after it."""
        episode = self._dataset.episode_of(frame)
        comparison, length = self._episodes[episode.index], len(chunk.actions)
        memory = state.memory if isinstance(state, PolicyState) else ()
        comparison.subtasks.add_prediction(frame - episode.start, chunk.subtasks, length if length > 1 else 0, memory)
        self._calls += 1
        self._num_images += chunk.subgoal is not None
        if self._dataset.actions is not None and self._range.any():
            recorded = self._recorded_actions(frame, min(frame + length, episode.end))
            moves = self._range > 0
            error = np.abs(chunk.actions[: len(recorded)] - recorded)[:, moves] / self._range[moves]
            comparison.action_errors.append(100 * float(error.mean()))
        if chunk.subgoal is not None and frame + length < episode.end:
            self._compare_images(comparison, frame, frame + length, chunk.subgoal)

    def metrics(self, config: OpenLoopConfig, checkpoint_sha256: str | None) -> OpenLoopMetrics:
        episodes = self._episodes.values()
        rates = subtask_rates(episode.subtasks.score() for episode in episodes)
        action_error = _mean_by_episode([episode.action_errors for episode in episodes])
        moving_frames = sum(len(episode.imagined_psnrs) for episode in episodes)
        no_labels = self._dataset.subtasks is None
        reasons = {
            "subtasks": rates or ("the dataset has no subtask labels" if no_labels else "no subtasks were predicted"),
            "action_error": action_error or "the dataset has no actions",
            "images": moving_frames
            or ("no image changes within a chunk" if self._num_images else "no images were predicted"),
        }
        return OpenLoopMetrics(
            policy=config.policy,
            checkpoint_sha256=checkpoint_sha256,
            dataset=str(config.dataset),
            episodes=len(episodes),
            calls=self._calls,
            subtasks=rates,
            action_error=action_error,
            imagined_psnr=_mean_by_episode([episode.imagined_psnrs for episode in episodes]),
            copy_baseline_psnr=_mean_by_episode([episode.copy_psnrs for episode in episodes]),
            psnr_gain=_mean_by_episode([episode.psnr_gains for episode in episodes], kind="paired by episode"),
            moving_frames=moving_frames,
            not_measured={name: reason for name, reason in reasons.items() if isinstance(reason, str)},
        )

    def _recorded_actions(self, first: int, end: int) -> Float32[np.ndarray, "m A"]:
        """The recorded actions from a frame on, up to the first one that was not executed: the actions after that
        belong to states that its execution would not have led to."""
        assert self._dataset.actions is not None
        not_executed = np.flatnonzero(~self._executed[first:end])
        return self._dataset.actions[first : first + int(not_executed[0]) + 1 if not_executed.size else end]

    def _compare_images(self, comparison: _EpisodeComparison, frame: int, target: int, imagined: Image) -> None:
        frames = self._dataset.frames(self._primary)
        current, truth = resize(np.stack([frames[frame], frames[target]]), imagined.shape[0]).numpy()
        if has_motion(current, truth):
            comparison.imagined_psnrs.append(psnr(imagined, truth))
            comparison.copy_psnrs.append(psnr(current, truth))


def psnr(prediction: Image, target: Image) -> float:
    """Peak signal-to-noise ratio in dB; 60 for (nearly) identical images."""
    error = np.mean((prediction.astype(np.float64) - target) ** 2)
    return float(10 * np.log10(255**2 / max(error, 255**2 / 10**6)))


def has_motion(current: Image, later: Image) -> bool:
    """Returns True when enough pixels changed between two frames: see `MOTION_LEVELS`, `MOTION_FRACTION`."""
    change = np.abs(current.astype(int) - later).max(axis=2)
    return bool((change >= MOTION_LEVELS).mean() >= MOTION_FRACTION)


def _labels(dataset: LeRobotDataset, episode: Episode) -> list[str | None]:
    if dataset.subtasks is None:
        return [None] * len(episode)
    indices = dataset.subtasks[episode.start : episode.end]
    return [dataset.subtask_texts[index] if index >= 0 else None for index in indices]


def _mean_by_episode(values: Sequence[Sequence[float]], kind: IntervalKind = "by episode") -> Estimate | None:
    """Mean over calls, with its interval by episode; None without calls."""
    sums, counts = [sum(row) for row in values], [len(row) for row in values]
    if not any(counts):
        return None
    return Estimate(sum(sums) / sum(counts), mean_by_episode(sums, counts, kind=kind))
