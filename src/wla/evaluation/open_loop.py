"""Open-loop evaluation on recorded episodes: predicted subtasks, actions and images against the recording."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from wla.config import Record
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.windows import subtask_window, window
from wla.evaluation.configs import OpenLoopConfig
from wla.intervals import FRACTION, Interval, mean_by_episode, sums_by_episode
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.progress import track
from wla.rollout.memory_replay import recorded_observation, recorded_state

MOTION_LEVELS, MOTION_FRACTION = 24, 0.005
"""Two images differ by motion when at least this fraction of the pixels changed by at least this many levels."""
BATCH_SIZE = 32


class OpenLoopMetrics(Record):
    """Metrics over n frames.

    Intervals are at 95 % and by episode, because frames of one episode are not independent.

    subtask_exact_match: fraction of the n subtask windows predicted exactly.
    imagined_psnr, copy_baseline_psnr: mean PSNR in dB of the imagined image and of the current frame against the frame
    at the chunk's end, over the `moving_frames` frames with motion in between; None without such frames.
    psnr_gain_interval: of their difference, by the same frames; None for fewer than two episodes.
    action_error: mean absolute error of the chunk in percent of each action's range.
    """

    n: int
    subtask_exact_match: float
    subtask_exact_match_interval: Interval
    imagined_psnr: float | None
    copy_baseline_psnr: float | None
    psnr_gain_interval: Interval | None
    moving_frames: int
    action_error: float
    action_error_interval: Interval | None


def evaluate_open_loop(config: OpenLoopConfig) -> OpenLoopMetrics:
    """Returns the metrics of a policy's predictions at evenly spread frames of recorded episodes.

    ValueError when the dataset has no actions, subtasks or robot, or was recorded on a different robot.
    """
    policy = load_policy(config.policy, imagination=config.imagine, device=config.device)
    dataset = _open_dataset(config, policy)
    assert dataset.subtasks is not None
    assert dataset.actions is not None
    primary = policy.robot_spec.observation.primary_camera
    chunk = policy.chunk_size
    frames = np.unique(np.linspace(0, len(dataset) - 1, config.frames).astype(int))
    episodes = np.array([dataset.episode_of(int(frame)).index for frame in frames])
    exact_matches: list[bool] = []
    moving: list[bool] = []
    imagined_psnrs: list[float] = []
    copy_psnrs: list[float] = []
    action_errors: list[np.ndarray] = []
    low, high = np.array(policy.robot_spec.action.low), np.array(policy.robot_spec.action.high)
    for start in track(range(0, len(frames), BATCH_SIZE), description="predicting"):
        batch = frames[start : start + BATCH_SIZE]
        observations = [recorded_observation(dataset, int(frame)) for frame in batch]
        states = [recorded_state(policy, dataset, int(frame)) for frame in batch]
        predictions = policy.act_batch(observations, states, imagine=config.imagine)
        for frame, (prediction, _) in zip(batch, predictions, strict=True):
            episode = dataset.episode_of(int(frame))
            labels = subtask_window(dataset.subtasks, int(frame), min(int(frame) + chunk, episode.end - 1))
            exact_matches.append(prediction.subtasks == tuple(dataset.subtask_texts[label] for label in labels))
            indices = window(np.array([frame]), np.array([episode.start]), np.array([episode.end]), chunk, 0)
            mask = indices.chunk_mask[0]
            recorded = dataset.actions[indices.chunk[0][mask]]
            action_errors.append(np.abs(prediction.actions[mask] - recorded).mean(0) / (high - low))
            current, target = dataset.frames(primary)[frame], dataset.frames(primary)[indices.subgoal[0]]
            moving.append(
                prediction.subgoal is not None and bool(indices.subgoal_mask[0]) and has_motion(current, target)
            )
            if prediction.subgoal is not None and moving[-1]:
                imagined_psnrs.append(psnr(prediction.subgoal, target))
                copy_psnrs.append(psnr(current, target))
    exact_match = mean_by_episode(*sums_by_episode(np.array(exact_matches, float), episodes), limits=FRACTION)
    assert exact_match is not None, "a dataset has frames"
    gains = np.array(imagined_psnrs) - np.array(copy_psnrs)
    return OpenLoopMetrics(
        n=len(frames),
        subtask_exact_match=exact_match.estimate,
        subtask_exact_match_interval=exact_match,
        imagined_psnr=float(np.mean(imagined_psnrs)) if imagined_psnrs else None,
        copy_baseline_psnr=float(np.mean(copy_psnrs)) if copy_psnrs else None,
        psnr_gain_interval=mean_by_episode(*sums_by_episode(gains, episodes[moving]), kind="paired by episode"),
        moving_frames=len(imagined_psnrs),
        action_error=100 * float(np.mean(action_errors)),
        action_error_interval=mean_by_episode(*sums_by_episode(100 * np.mean(action_errors, 1), episodes)),
    )


def _open_dataset(config: OpenLoopConfig, policy: WLAPolicy) -> LeRobotDataset:
    """A dataset with actions, subtasks and the policy's robot; ValueError otherwise."""
    dataset = LeRobotDataset(config.dataset)
    if dataset.robot_spec is None or dataset.subtasks is None or dataset.actions is None:
        parts = {
            "actions": dataset.actions,
            "subtask texts": dataset.subtasks,
            "meta/wla_robot.json": dataset.robot_spec,
        }
        absent = " and no ".join(name for name, part in parts.items() if part is None)
        raise ValueError(
            f"{config.dataset}: has no {absent} to compare with; use a dataset that `wla collect` made with actions"
        )
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {config.policy}", theirs=str(config.dataset))
    return dataset


def psnr(prediction: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio in dB; 60 for (nearly) identical images."""
    error = np.mean((prediction.astype(np.float64) - target) ** 2)
    return float(10 * np.log10(255**2 / max(error, 255**2 / 10**6)))


def has_motion(current: UInt8[np.ndarray, "H W 3"], later: UInt8[np.ndarray, "H W 3"]) -> bool:
    """Returns True when enough pixels changed between two frames: see `MOTION_LEVELS`, `MOTION_FRACTION`."""
    change = np.abs(current.astype(int) - later).max(axis=2)
    return bool((change >= MOTION_LEVELS).mean() >= MOTION_FRACTION)
