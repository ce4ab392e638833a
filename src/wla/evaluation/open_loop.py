"""What a policy predicts on recorded episodes: its words against the expert's, its images against what came."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8
from rich.progress import track

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.windows import subtask_window, window
from wla.evaluation.configs import HeldOutConfig
from wla.policy.wla_policy import load_policy
from wla.rollout.memory_replay import as_recorded, recorded
from wla.rollout.results import wilson

MOVED_LEVELS, MOVED_SHARE = 24, 0.005
"""Something moved when at least this share of the pixels changed by at least this many levels."""
BATCH = 32


class HeldOut(Config):
    """subtasks_exact: share of the n windows told exactly, with its Wilson 95 % interval.

    imagined_psnr, copied_psnr: mean in dB over the `moved` frames where something moved until the chunk's end, of the
    imagined image and of the present one. action_error: mean absolute error of the chunk in percent of the range.
    """

    n: int
    subtasks_exact: float
    subtasks_interval: tuple[float, float]
    imagined_psnr: float | None
    copied_psnr: float | None
    moved: int
    action_error: float


def compare(config: HeldOutConfig) -> HeldOut:
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
    chunk = policy.model.config.action_expert.chunk
    frames = np.unique(np.linspace(0, len(dataset) - 1, config.frames).astype(int))
    right = 0
    imagined: list[float] = []
    copied: list[float] = []
    errors: list[np.ndarray] = []
    low, high = np.array(policy.robot_spec.action.low), np.array(policy.robot_spec.action.high)
    for start in track(range(0, len(frames), BATCH), description="asking the policy"):
        chosen = frames[start : start + BATCH]
        episodes = [dataset.episode_of(int(frame)) for frame in chosen]
        observations = [recorded(dataset, int(frame)) for frame in chosen]
        states = [as_recorded(policy, dataset, int(frame)) for frame in chosen]
        answers = policy.act_batch(observations, states, imagine=config.imagine)
        for frame, episode, (answer, _) in zip(chosen, episodes, answers, strict=True):
            spoken = subtask_window(dataset.subtasks, int(frame), min(int(frame) + chunk, episode.end - 1))
            right += answer.subtasks == tuple(dataset.subtask_texts[index] for index in spoken)
            place = window(np.array([frame]), np.array([episode.start]), np.array([episode.end]), chunk, 0)
            inside = place.chunk_mask[0]
            real = dataset.actions[place.chunk[0][inside]]
            errors.append(np.abs(answer.actions[inside] - real).mean(0) / (high - low))
            now, later = dataset.frames(primary)[frame], dataset.frames(primary)[place.subgoal[0]]
            if answer.subgoal is not None and place.subgoal_mask[0] and moved(now, later):
                imagined.append(psnr(answer.subgoal, later))
                copied.append(psnr(now, later))
    return HeldOut(
        n=len(frames),
        subtasks_exact=right / len(frames),
        subtasks_interval=wilson(right, len(frames)),
        imagined_psnr=float(np.mean(imagined)) if imagined else None,
        copied_psnr=float(np.mean(copied)) if copied else None,
        moved=len(imagined),
        action_error=100 * float(np.mean(errors)),
    )


def psnr(ours: UInt8[np.ndarray, "H W 3"], theirs: UInt8[np.ndarray, "H W 3"]) -> float:
    """Peak signal-to-noise ratio in dB; 60 for images that are (nearly) the same."""
    error = np.mean((ours.astype(np.float64) - theirs) ** 2)
    return float(10 * np.log10(255**2 / max(error, 255**2 / 10**6)))


def moved(now: UInt8[np.ndarray, "H W 3"], later: UInt8[np.ndarray, "H W 3"]) -> bool:
    change = np.abs(now.astype(int) - later).max(axis=2)
    return bool((change >= MOVED_LEVELS).mean() >= MOVED_SHARE)
