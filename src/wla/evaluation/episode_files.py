"""Recorded episodes on disk, for the report: a video, and a JSON file with everything that goes with its frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from wla.config import Config
from wla.data.video.codec import encode
from wla.rollout.recording import Recording
from wla.rollout.results import EpisodeResult, TaskVariant
from wla.types import Candidates, Outcome

VIDEO_HEIGHT = 288
"""Smallest height of a video in pixels: frames are enlarged by a whole factor, so that colours survive 4:2:0."""


class ScoredCandidate(Config):
    """A candidate at a step: the last image imagined for it, its score, whether it was run, what it is doing in words,
    and whether it is one of a policy that was told nothing of what it did."""

    image: str
    score: float
    selected: bool
    subtask: str
    memory_reset: bool


class Subgoal(Config):
    """An image imagined at a step for a later one, and the frame that really came (None: the episode ended before)."""

    predicted_at: int
    target_step: int
    imagined: str
    real: str | None
    scored_candidates: tuple[ScoredCandidate, ...] = ()
    """What it was chosen from, if anything."""


class EpisodeRecord(Config):
    """One episode of the report. Files are named relative to its folder; actions is (steps, A)."""

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
    cameras: tuple[str, ...]
    subgoals: tuple[Subgoal, ...]


class VideoQuota:
    """Recorded episodes of a folder, `limit` per case: up to a third successes, the rest failures and errors."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        successes = max(1, limit // 3)
        self._limits = {True: successes, False: max(1, limit - successes)} if limit else {True: 0, False: 0}
        self._counts = Counter((shown.variant, shown.outcome == "success") for _, shown in read_episodes(folder))

    def accepts(self, variant: TaskVariant, outcome: Outcome) -> bool:
        success = outcome == "success"
        return self._counts[variant, success] < self._limits[success]

    def has_room(self, variant: TaskVariant) -> bool:
        """Whether an episode of unknown outcome may be wanted, so that it is worth recording."""
        return self.accepts(variant, "success") or self.accepts(variant, "failure")

    def add(self, result: EpisodeResult, recording: Recording) -> None:
        save_episode(self._folder / episode_folder(result.variant, result.seed), result, recording)
        self._counts[result.variant, result.outcome == "success"] += 1


def save_episode(folder: Path, result: EpisodeResult, recording: Recording) -> None:
    """Write ``video.mp4``, the subgoal images and, last, ``episode.json`` into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    assert recording.last is not None, "only finished episodes are saved"
    spec = recording.robot_spec
    observations = [step.observation for step in recording.steps] + [recording.last]
    frames = [side_by_side([o.images[camera] for camera in spec.observation.cameras]) for o in observations]
    (folder / "video.mp4").write_bytes(encode(frames, Fraction(spec.action.rate_hz).limit_denominator(1000)))
    primary = [o.images[spec.observation.primary_camera] for o in observations]
    shown = EpisodeRecord(
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
        cameras=tuple(spec.observation.cameras),
        subgoals=_save_subgoals(folder, recording, primary),
    )
    (folder / "episode.json").write_text(shown.model_dump_json() + "\n", encoding="utf-8")


def read_episodes(folder: Path) -> list[tuple[Path, EpisodeRecord]]:
    """All complete episodes under a folder, by the names of their folders. ValueError for one that does not fit."""
    try:
        return [(file.parent, EpisodeRecord.load(file)) for file in sorted(folder.glob("*/episode.json"))]
    except ValueError as error:
        raise ValueError(f"{error}; remove that episode's folder to have a report without it") from error


def episode_folder(variant: TaskVariant, seed: int) -> str:
    return f"{variant.task}-{variant.setting}-{variant.embodiment}-{seed}"


def side_by_side(images: Sequence[np.ndarray]) -> np.ndarray:
    """Cameras (H, W, 3) of one height as one picture, enlarged by a whole factor to at least `VIDEO_HEIGHT`."""
    wide = np.concatenate(images, axis=1)
    factor = -(-VIDEO_HEIGHT // wide.shape[0])
    wide = wide.repeat(factor, axis=0).repeat(factor, axis=1)
    # H.264 with 4:2:0 colour needs even sizes.
    return wide[: wide.shape[0] // 2 * 2, : wide.shape[1] // 2 * 2]


def _save_subgoals(folder: Path, recording: Recording, primary: Sequence[np.ndarray]) -> tuple[Subgoal, ...]:
    subgoals = []
    for at, step in enumerate(recording.steps):
        if step.offset == 0 and step.chunk.subgoal is not None:
            due = at + len(step.chunk.actions)
            imagined, real = f"imagined-{at:04d}.jpg", f"real-{due:04d}.jpg" if due < len(primary) else None
            _save_jpeg(step.chunk.subgoal, folder / imagined)
            if real:
                _save_jpeg(primary[due], folder / real)
            scored_candidates = _save_candidates(folder, at, step.chunk.candidates)
            subgoals.append(
                Subgoal(
                    predicted_at=at, target_step=due, imagined=imagined, real=real, scored_candidates=scored_candidates
                )
            )
    return tuple(subgoals)


def _save_candidates(folder: Path, at: int, candidates: Candidates | None) -> tuple[ScoredCandidate, ...]:
    if candidates is None:
        return ()
    scored_candidates = []
    for number, (image, score) in enumerate(zip(candidates.images, candidates.scores, strict=True)):
        name = f"candidate-{at:04d}-{number:02d}.jpg"
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
