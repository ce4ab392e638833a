"""What a policy predicts on recorded episodes: its words against the expert's, its images against what came."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from rich.progress import track

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.windows import subtask_window, window
from wla.evaluation.configs import OpenLoopConfig
from wla.policy.wla_policy import load_policy
from wla.rollout.memory_replay import recorded_observation, recorded_state
from wla.rollout.results import wilson

MOTION_LEVELS, MOTION_FRACTION = 24, 0.005
"""Something moved when at least this share of the pixels changed by at least this many levels."""
BATCH = 32


class OpenLoopMetrics(Config):
    """subtask_exact_match: share of the n windows told exactly, with its Wilson 95 % interval.

    imagined_psnr, copy_baseline_psnr: mean in dB over the `moved` frames where something moved until the chunk's end, of the
    imagined image and of the present one. action_error: mean absolute error of the chunk in percent of the range.
    """

    n: int
    subtask_exact_match: float
    subtask_exact_match_interval: tuple[float, float]
    imagined_psnr: float | None
    copy_baseline_psnr: float | None
    moving_frames: int
    action_error: float


def evaluate_open_loop(config: OpenLoopConfig) -> OpenLoopMetrics:
    """Ask the policy at frames of recorded episodes. ValueError when the dataset is of another robot."""
    policy = load_policy(config.policy, imagination=config.imagine, device=config.device)
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
    primary = policy.robot_spec.observation.primary_camera
    chunk = policy.chunk_size
    frames = np.unique(np.linspace(0, len(dataset) - 1, config.frames).astype(int))
    right = 0
    imagined: list[float] = []
    copied: list[float] = []
    errors: list[np.ndarray] = []
    low, high = np.array(policy.robot_spec.action.low), np.array(policy.robot_spec.action.high)
    for start in track(range(0, len(frames), BATCH), description="asking the policy"):
        chosen = frames[start : start + BATCH]
        episodes = [dataset.episode_of(int(frame)) for frame in chosen]
        observations = [recorded_observation(dataset, int(frame)) for frame in chosen]
        states = [recorded_state(policy, dataset, int(frame)) for frame in chosen]
        answers = policy.act_batch(observations, states, imagine=config.imagine)
        for frame, episode, (answer, _) in zip(chosen, episodes, answers, strict=True):
            spoken = subtask_window(dataset.subtasks, int(frame), min(int(frame) + chunk, episode.end - 1))
            right += answer.subtasks == tuple(dataset.subtask_texts[index] for index in spoken)
            place = window(np.array([frame]), np.array([episode.start]), np.array([episode.end]), chunk, 0)
            inside = place.chunk_mask[0]
            real = dataset.actions[place.chunk[0][inside]]
            errors.append(np.abs(answer.actions[inside] - real).mean(0) / (high - low))
            now, later = dataset.frames(primary)[frame], dataset.frames(primary)[place.subgoal[0]]
            if answer.subgoal is not None and place.subgoal_mask[0] and has_motion(now, later):
                imagined.append(psnr(answer.subgoal, later))
                copied.append(psnr(now, later))
    return OpenLoopMetrics(
        n=len(frames),
        subtask_exact_match=right / len(frames),
        subtask_exact_match_interval=wilson(right, len(frames)),
        imagined_psnr=float(np.mean(imagined)) if imagined else None,
        copy_baseline_psnr=float(np.mean(copied)) if copied else None,
        moving_frames=len(imagined),
        action_error=100 * float(np.mean(errors)),
    )


def psnr(prediction: UInt8[np.ndarray, "H W 3"], target: UInt8[np.ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio in dB; 60 for images that are (nearly) the same."""
    error = np.mean((prediction.astype(np.float64) - target) ** 2)
    return float(10 * np.log10(255**2 / max(error, 255**2 / 10**6)))


def has_motion(now: UInt8[np.ndarray, "H W 3"], later: UInt8[np.ndarray, "H W 3"]) -> bool:
    change = np.abs(now.astype(int) - later).max(axis=2)
    return bool((change >= MOTION_LEVELS).mean() >= MOTION_FRACTION)
