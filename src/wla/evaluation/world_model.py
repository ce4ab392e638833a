"""Evaluation of a policy's imagined subgoals on recorded episodes: image metrics, and a report with images.

Two rows put the metrics into perspective: the copy baseline (the current frame as the prediction, which imagining has
to beat) and the codec reconstruction of the ground truth (the upper bound). An action-conditioned policy is also
evaluated with actions given: with chunks that it samples itself, with the recorded chunk, and with that of another
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int64

from wla.data.lerobot.reader import LeRobotDataset
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.world_images import imagine
from wla.evaluation.world_metrics import Scores, WorldModelMetrics, codec_of
from wla.evaluation.world_report import REPORT_FILE, FrameImages, frame_images, render_report
from wla.files import disk_errors
from wla.html import write_page
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.rollout.recorded_episodes import RecordedCall, load_with_dataset, replay_episodes
from wla.types import PolicyState

BATCH_SIZE = 16
METRICS_FILE = "world.json"


def evaluate_world(config: WorldEvalConfig, out: Path) -> WorldModelMetrics:
    """Writes `world.json` and `world.html` into `out` and returns the metrics.

    The frames are calls of the policy in replayed episodes (see `replay_episodes`), so that prompts are those of
    acting. ValueError for a dataset of a different robot, or without episodes longer than a chunk.
    """
    policy, dataset = load_with_dataset(
        config.policy, config.dataset, imagination=True, device=config.device, robot=config.robot
    )
    steps = config.flow_steps or (policy.require_imagination().flow_steps,)
    frames = _frames(dataset, policy, config.frames)
    report_frames = set(_evenly_spread(frames, config.num_report_frames).tolist())
    scores = Scores(
        codec_of(policy if config.metric_codec is None else load_policy(config.metric_codec, imagination=True))
    )
    sheets: dict[int, FrameImages] = {}

    others = dict(zip(frames.tolist(), np.roll(frames, len(frames) // 2).tolist(), strict=True))

    def score(calls: Sequence[RecordedCall[PolicyState]]) -> None:
        batch = imagine(policy, dataset, calls, others, steps, config.samples)
        scores.add(batch, [dataset.episode_of(call.frame).index for call in calls], policy)
        sheets.update(frame_images(dataset, batch, report_frames, len(steps)))

    _replay(policy, dataset, frames, score)
    metrics = WorldModelMetrics(
        policy=config.policy,
        checkpoint_sha256=policy.checkpoint_sha256,
        dataset=str(config.dataset),
        n=len(frames),
        changed_frames=scores.changed_frames,
        samples=config.samples,
        rows=scores.rows(),
        sample_std=scores.sample_std(),
        follows_actions=scores.follows_actions(steps[0]),
    )
    hint = "free disk space or choose another --out"
    with disk_errors(out, hint):
        out.mkdir(parents=True, exist_ok=True)
        metrics.save(out / METRICS_FILE)
    report = render_report(metrics, [sheets[frame] for frame in sorted(sheets)])
    write_page(out / REPORT_FILE, report, hint)
    return metrics


def _frames(dataset: LeRobotDataset, policy: WLAPolicy, count: int) -> Int64[np.ndarray, " N"]:
    """At most `count` evenly spread frames at which the policy acts and that are followed by a whole chunk in their
    episode."""
    interval, chunk = policy.replan_steps or policy.chunk_size, policy.chunk_size
    candidates = [np.arange(episode.start, episode.end - chunk, interval) for episode in dataset.episodes]
    frames = np.concatenate(candidates)
    frames = frames[frames + chunk < dataset.run_end[frames]]
    if not frames.size:
        raise ValueError(f"{dataset.root}: no episode is longer than {chunk} frames, so no frame comes after a chunk")
    return _evenly_spread(frames, count)


def _evenly_spread(frames: Int64[np.ndarray, " M"], count: int) -> Int64[np.ndarray, " N"]:
    return frames[np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))]


def _replay(
    policy: WLAPolicy,
    dataset: LeRobotDataset,
    frames: Int64[np.ndarray, " N"],
    take: Callable[[Sequence[RecordedCall[PolicyState]]], None],
) -> None:
    """Replays the episodes of these frames, each up to its last one, and passes the calls at these frames on."""
    last = {dataset.episode_of(frame).index: frame for frame in sorted(frames.tolist())}
    episodes = [replace(dataset.episodes[index], end=frame + 1) for index, frame in last.items()]
    chosen = set(frames.tolist())

    def answer(calls: Sequence[RecordedCall[PolicyState]]) -> list[tuple[int, PolicyState]]:
        imagined = [call for call in calls if call.frame in chosen]
        if imagined:
            take(imagined)
        subtasks: Sequence[tuple[str, ...]] = [()] * len(calls)
        if policy.predicts_subtasks:
            encoding = policy.encode([call.observation for call in calls], [call.state for call in calls])
            subtasks = [policy.subtasks(encoding, index) for index in range(len(calls))]
        return [
            (policy.replan_steps or policy.chunk_size, policy.advance_state(texts, call.observation, call.state))
            for call, texts in zip(calls, subtasks, strict=True)
        ]

    replay_episodes(policy, dataset, episodes, answer, batch_size=BATCH_SIZE, description="imagining")
