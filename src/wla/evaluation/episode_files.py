"""Recorded episodes on disk, for the report: for each a video and a JSON file with everything about its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from wla.config import Record
from wla.data.video.codec import VIEWING, encode
from wla.files import atomic_write_text
from wla.rollout.recording import Recording
from wla.rollout.results import EpisodeResult, TaskVariant
from wla.types import Candidates, Outcome

VIDEO_HEIGHT = 288
"""Minimum height of a video in pixels: frames are enlarged by an integer factor, so that colours survive 4:2:0."""


class ScoredCandidate(Record):
    """A candidate chunk at a step: file name of the last image imagined for it, its score (higher is better), whether
    it was selected, its subtask ('' for none), and whether it was sampled with the memory reset."""

    image: str
    score: float
    selected: bool
    subtask: str
    memory_reset: bool


class Subgoal(Record):
    """An image imagined at one step for a later one, with the ground-truth frame (None: the episode ended before).

    predicted_at, target_step: control steps of the episode. imagined, real: file names.
    """

    predicted_at: int
    target_step: int
    imagined: str
    real: str | None
    scored_candidates: tuple[ScoredCandidate, ...] = ()
    """Candidates that the chunk was selected from; empty for a policy that samples only one."""


class EpisodeRecord(Record):
    """One episode of the report; file names are relative to its folder.

    steps: control steps. rate_hz: control rate. subtasks, memory: (step, text) of each predicted subtask and of each
    memory item. actions: (steps, A), in `action_units`. states: (steps + 1, S), in `state_units`, with the state after
    the last step. calls: (step, milliseconds) of each call of the policy, including the wait for other episodes of the
    same batch. Episodes recorded by earlier versions have neither states nor calls.
    """

    variant: TaskVariant
    seed: int
    instruction: str
    outcome: str
    error: str | None
    steps: int
    rate_hz: float
    subtasks: tuple[tuple[int, str], ...]
    memory: tuple[tuple[int, str], ...]
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    actions: tuple[tuple[float, ...], ...]
    state_names: tuple[str, ...] = ()
    state_units: tuple[str, ...] = ()
    states: tuple[tuple[float | None, ...], ...] = ()
    calls: tuple[tuple[int, float], ...] = ()
    cameras: tuple[str, ...]
    subgoals: tuple[Subgoal, ...]


class VideoQuota:
    """A limit on the episodes recorded in a folder, `limit` per task variant: up to a third successes, the rest
    failures and errors."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        successes = max(1, limit // 3)
        self._limits = {True: successes, False: max(1, limit - successes)} if limit else {True: 0, False: 0}
        self._counts = Counter((record.variant, record.outcome == "success") for _, record in read_episodes(folder))

    def accepts(self, variant: TaskVariant, outcome: Outcome) -> bool:
        """Returns True while another episode with this outcome may be added."""
        success = outcome == "success"
        return self._counts[variant, success] < self._limits[success]

    def has_room(self, variant: TaskVariant) -> bool:
        """Returns True while an episode is worth recording although its outcome is not known yet."""
        return self.accepts(variant, "success") or self.accepts(variant, "failure")

    def add(self, result: EpisodeResult, recording: Recording) -> None:
        """Saves a finished episode and counts it."""
        save_episode(self._folder / episode_folder(result.variant, result.seed), result, recording)
        self._counts[result.variant, result.outcome == "success"] += 1


def save_episode(folder: Path, result: EpisodeResult, recording: Recording) -> None:
    """Writes ``video.mp4``, the subgoal images and, last and atomically, ``episode.json``: without it a folder is not
    an episode, whatever a full disk left there."""
    folder.mkdir(parents=True, exist_ok=True)
    assert recording.last is not None, "only finished episodes are saved"
    spec = recording.robot_spec
    observations = [step.observation for step in recording.steps] + [recording.last]
    frames = [side_by_side([o.images[camera] for camera in spec.observation.cameras]) for o in observations]
    rate = Fraction(spec.action.rate_hz).limit_denominator(1000)
    (folder / "video.mp4").write_bytes(encode(frames, rate, VIEWING))
    primary = [o.images[spec.observation.primary_camera] for o in observations]
    record = EpisodeRecord(
        variant=result.variant,
        seed=result.seed,
        instruction=result.instruction,
        outcome=result.outcome,
        error=result.error,
        steps=len(recording.steps),
        rate_hz=spec.action.rate_hz,
        subtasks=result.subtasks,
        memory=result.memory,
        action_names=spec.action.names,
        action_units=spec.action.units,
        action_low=spec.action.low,
        action_high=spec.action.high,
        actions=tuple(tuple(float(x) for x in step.action) for step in recording.steps),
        state_names=spec.observation.state_names,
        state_units=spec.observation.state_units,
        states=tuple(_rounded(observation.state) for observation in observations),
        calls=_calls(recording),
        cameras=tuple(spec.observation.cameras),
        subgoals=_save_subgoals(folder, recording, primary),
    )
    atomic_write_text(folder / "episode.json", record.model_dump_json() + "\n")


def _rounded(vector: np.ndarray) -> tuple[float | None, ...]:
    """The vector to six digits; None for what is not finite, which JSON does not have."""
    return tuple(float(f"{x:.6g}") if np.isfinite(x) else None for x in vector.tolist())


def _calls(recording: Recording) -> tuple[tuple[int, float], ...]:
    # A call whose chunk was never executed, because it crashed, has no step.
    steps = [index for index, step in enumerate(recording.steps) if step.offset == 0]
    return tuple((step, round(1000 * seconds, 2)) for step, seconds in zip(steps, recording.latencies, strict=False))


def read_episodes(folder: Path) -> list[tuple[Path, EpisodeRecord]]:
    """Returns each complete episode under `folder` with its own folder, sorted by folder name.

    ValueError for an ``episode.json`` that is damaged or does not match `EpisodeRecord`.
    """
    try:
        return [(file.parent, EpisodeRecord.load(file)) for file in sorted(folder.glob("*/episode.json"))]
    except ValueError as error:
        raise ValueError(f"{error}; remove that episode's folder to get a report without it") from error


def episode_folder(variant: TaskVariant, seed: int) -> str:
    """Returns the name of an episode's folder."""
    return f"{variant.task}-{variant.setting}-{variant.embodiment}-{seed}"


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """Returns camera images (H, W, 3) of equal height as one image, enlarged by an integer factor to at least
    `VIDEO_HEIGHT` pixels and cropped to even sizes."""
    row = np.concatenate(images, axis=1)
    factor = -(-VIDEO_HEIGHT // row.shape[0])
    row = row.repeat(factor, axis=0).repeat(factor, axis=1)
    # H.264 with 4:2:0 colour needs even sizes.
    return row[: row.shape[0] // 2 * 2, : row.shape[1] // 2 * 2]


def _save_subgoals(folder: Path, recording: Recording, primary: Sequence[np.ndarray]) -> tuple[Subgoal, ...]:
    subgoals = []
    for index, step in enumerate(recording.steps):
        if step.offset == 0 and step.chunk.subgoal is not None:
            target = index + len(step.chunk.actions)
            imagined, real = f"imagined-{index:04d}.jpg", f"real-{target:04d}.jpg" if target < len(primary) else None
            _save_jpeg(step.chunk.subgoal, folder / imagined)
            if real:
                _save_jpeg(primary[target], folder / real)
            subgoals.append(
                Subgoal(
                    predicted_at=index,
                    target_step=target,
                    imagined=imagined,
                    real=real,
                    scored_candidates=_save_candidates(folder, index, step.chunk.candidates),
                )
            )
    return tuple(subgoals)


def _save_candidates(folder: Path, step: int, candidates: Candidates | None) -> tuple[ScoredCandidate, ...]:
    if candidates is None:
        return ()
    scored_candidates = []
    for number, (image, score) in enumerate(zip(candidates.images, candidates.scores, strict=True)):
        name = f"candidate-{step:04d}-{number:02d}.jpg"
        _save_jpeg(image, folder / name)
        scored_candidates.append(
            ScoredCandidate(
                image=name,
                score=float(score),
                selected=number == candidates.selected,
                subtask=candidates.subtasks[number],
                memory_reset=candidates.memory_reset[number],
            )
        )
    return tuple(scored_candidates)


def _save_jpeg(image: np.ndarray, path: Path) -> None:
    # A quarter of a PNG's size, and no visible difference on images this small.
    Image.fromarray(image).save(path, quality=92, subsampling=0)
