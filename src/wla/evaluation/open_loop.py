"""Open-loop evaluation on recorded episodes: predicted subtasks, actions and images against the recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.data.transforms import resize
from wla.evaluation.action_errors import ActionErrors, estimate
from wla.evaluation.configs import OpenLoopConfig
from wla.evaluation.open_loop_metrics import OpenLoopMetrics
from wla.evaluation.open_loop_report import OpenLoopReport
from wla.evaluation.subtask_rates import subtask_rates
from wla.rollout.recorded_episodes import (
    RecordedCall,
    load_baseline,
    load_with_dataset,
    replay_episodes,
    steps_until_next_call,
)
from wla.rollout.subtask_metrics import TOLERANCE_S, SubtaskMetrics
from wla.types import ActionChunk, Policy, PolicyState

MOTION_LEVELS, MOTION_FRACTION = 24, 0.005
"""Two images differ by motion when at least this fraction of the pixels changed by at least this many levels."""
BATCH_SIZE = 32
Image = UInt8[np.ndarray, "H W 3"]


def evaluate_open_loop(config: OpenLoopConfig, out: Path | None = None) -> OpenLoopMetrics:
    """Returns the metrics of a policy's predictions at its calls in recorded episodes, see `replay_episodes`.

    out: folder that gets `offline.json`, drawings and `offline.html`. ValueError when the dataset is of a different
    robot, when the policy was trained on all of its episodes, or when there is nothing to compare its predictions with.
    """
    policy, dataset = load_baseline(config.policy, config.dataset) or load_with_dataset(
        config.policy, config.dataset, imagination=config.imagine, device=config.device, robot=config.robot
    )
    held_out, trained = _held_out(config, policy, dataset)
    chosen = np.unique(np.linspace(0, len(held_out) - 1, config.episodes).round().astype(int))
    episodes = [held_out[index] for index in chosen]
    imagine = config.imagine and getattr(policy, "imagination", None) is not None
    comparison = _Comparison(dataset, policy, episodes)
    report = None if out is None else OpenLoopReport(dataset, policy, episodes)

    def answer(calls: Sequence[RecordedCall[Any]]) -> list[tuple[int, Any]]:
        answers = policy.act_batch(
            [call.observation for call in calls], [call.state for call in calls], imagine=imagine
        )
        for call, (chunk, state) in zip(calls, answers, strict=True):
            comparison.add(call.frame, chunk, state)
            if report is not None:
                report.add(call, chunk)
        return [(steps_until_next_call(chunk), state) for chunk, state in answers]

    replay_episodes(policy, dataset, episodes, answer, batch_size=BATCH_SIZE, description="predicting")
    metrics = comparison.metrics(config, policy.checkpoint_sha256, trained)
    if metrics.subtasks is None and metrics.action_error is None and metrics.imagined_psnr is None:
        reasons = ", ".join(metrics.not_measured.values())
        raise ValueError(f"{config.dataset}: nothing to compare policy {config.policy} with: {reasons}")
    if report is not None and out is not None:
        report.write(out, metrics, comparison.actions)
    return metrics


def _held_out(
    config: OpenLoopConfig, policy: Policy[Any], dataset: LeRobotDataset
) -> tuple[Sequence[Episode], int | None]:
    """The episodes that the policy was not trained on, and the number of the others where that is known."""
    record = getattr(policy, "training_data", None)
    if record is None:
        return dataset.episodes, None
    found = record.held_out(dataset)
    if not found:
        raise ValueError(
            f"{config.dataset}: policy {config.policy} was trained on all of its {len(dataset.episodes)} episodes; "
            "name another dataset, or train with some held out (DatasetConfig.validation_episodes)"
        )
    return found, len(dataset.episodes) - len(found)


@dataclass
class _EpisodeComparison:
    """Predictions of an episode: subtasks, and per call the error of the actions and the PSNR of moving images."""

    subtasks: SubtaskMetrics
    imagined_psnrs: list[float] = field(default_factory=list)
    copy_psnrs: list[float] = field(default_factory=list)

    @property
    def psnr_gains(self) -> list[float]:
        return [imagined - copied for imagined, copied in zip(self.imagined_psnrs, self.copy_psnrs, strict=True)]


class _Comparison:
    """Collects the calls in these episodes."""

    def __init__(self, dataset: LeRobotDataset, policy: Policy[Any], episodes: Sequence[Episode]) -> None:
        robot = policy.robot_spec
        # Baselines have no model that would read another camera first.
        self._dataset, self._primary = dataset, getattr(policy, "primary", robot.observation.primary_camera)
        self._resize = getattr(policy, "resize", resize)
        self.actions = None if dataset.actions is None else ActionErrors(dataset, robot.action, episodes)
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
        if self.actions is not None:
            self.actions.add(frame, chunk.actions)
        if chunk.subgoal is not None and frame + length < self._dataset.run_end[frame]:
            self._compare_images(comparison, frame, frame + length, chunk.subgoal)

    def metrics(self, config: OpenLoopConfig, checkpoint_sha256: str | None, trained: int | None) -> OpenLoopMetrics:
        episodes = self._episodes.values()
        rates = subtask_rates(episode.subtasks.score() for episode in episodes)
        action_error = None if self.actions is None else self.actions.percent()
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
            trained_episodes=trained,
            calls=self._calls,
            subtasks=rates,
            action_error=action_error,
            dimensions=() if self.actions is None else self.actions.dimensions(),
            imagined_psnr=estimate([episode.imagined_psnrs for episode in episodes]),
            copy_baseline_psnr=estimate([episode.copy_psnrs for episode in episodes]),
            psnr_gain=estimate([episode.psnr_gains for episode in episodes], kind="paired by episode"),
            moving_frames=moving_frames,
            not_measured={name: reason for name, reason in reasons.items() if isinstance(reason, str)},
        )

    def _compare_images(self, comparison: _EpisodeComparison, frame: int, target: int, imagined: Image) -> None:
        frames = self._dataset.random_access_frames(self._primary)
        current, truth = self._resize(frames[np.array([frame, target])], imagined.shape[0]).numpy()
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
