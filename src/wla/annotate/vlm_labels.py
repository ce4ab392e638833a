"""Subtasks from a vision-language model behind an OpenAI-compatible URL: key frames in, segments out as JSON.

Good answers are kept in `DATASET/.cache/annotate`, under a hash of all that was asked (model, words, images): the same
command asks only what has no answer yet. Nothing is written into the dataset here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from wla.annotate.chat_client import ChatClient
from wla.annotate.frames import key_frames, primary_camera
from wla.annotate.segments import Segment, validate_segments
from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.files import atomic_write_text, disk_errors
from wla.html import data_url, jpeg
from wla.progress import progress_bar

CACHE = ".cache/annotate"
MAX_IMAGE_SIDE = 512
"""Pixels of the longer side of an image that is sent."""
MAX_ANSWERS = 3
"""Answers that are asked for before one without usable segments is an error."""

PROMPT = """A robot was told: "{instruction}"
You see {count} frames of its recording, which has the frames 0 to {last} at {fps:g} frames per second; each image comes
after its number. Divide the recording into consecutive subtasks. Name each one with a short imperative in the words of
the instruction, like "reach the red block" or "release the red block". A new subtask begins where what the robot is
about to do changes: before, during and after it grips, moves or lets go of something.
Answer with one JSON object and nothing else: {{"segments": [{{"start": 0, "end": 11, "text": "..."}}, ...]}}
start and end are numbers of frames, both included. Segments are in order and do not overlap."""

_FENCE = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)
_BARE = re.compile(r"\{.*\}", re.DOTALL)


class AnsweredSegment(BaseModel):
    """start and end are frames of the episode, both included."""

    model_config = ConfigDict(strict=True)

    start: int
    end: int
    text: str


class Answer(BaseModel):
    """What the model is asked for."""

    segments: list[AnsweredSegment]


def label_dataset(dataset: LeRobotDataset, client: ChatClient, *, frames: int) -> list[Segment]:
    """Ask for each episode in turn. ValueError or KeyboardInterrupt says that what was answered so far is kept."""
    camera = primary_camera(dataset)
    folder = dataset.root / CACHE
    kept = f"nothing was changed; answers so far are kept in {folder}, the same command goes on"
    segments: list[Segment] = []
    try:
        with progress_bar() as progress:
            for episode in progress.track(dataset.episodes, description="asking the model"):
                segments += label_episode(dataset, client, episode, camera, frames=frames)
    except ValueError as error:
        raise ValueError(f"{error}; {kept}") from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(kept) from stop
    return segments


def label_episode(
    dataset: LeRobotDataset, client: ChatClient, episode: Episode, camera: str, *, frames: int
) -> list[Segment]:
    """The segments of one episode, from the cache or from the server.

    An answer that cannot be used goes back with the reason. ValueError names the episode when none of ANSWERS can be
    used, or when the server cannot be reached.
    """
    name = f"{dataset.root} episode {episode.index}"
    messages = [{"role": "user", "content": _question(dataset, episode, camera, frames)}]
    file = dataset.root / CACHE / f"{_cache_key(client.model, messages)}.json"
    if file.is_file():
        return _parse_answer(file.read_text(encoding="utf-8"), dataset, episode)
    for attempt in range(1, MAX_ANSWERS + 1):
        try:
            text = client.chat(messages)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        try:
            segments = _parse_answer(text, dataset, episode)
        except ValueError as error:
            if attempt == MAX_ANSWERS:
                raise ValueError(
                    f"{name}: {client.model} gave no usable answer in {MAX_ANSWERS} attempts ({error})"
                ) from error
            complaint = f"That cannot be used: {error}. Answer again, with one JSON object and nothing else."
            messages = [
                *messages,
                {"role": "assistant", "content": text},
                {"role": "user", "content": complaint},
            ]
            continue
        _write_cache(file, segments)
        return segments
    raise AssertionError("unreachable")


def _question(dataset: LeRobotDataset, episode: Episode, camera: str, count: int) -> list[dict[str, Any]]:
    chosen = key_frames(episode, count)
    words = PROMPT.format(instruction=episode.instruction, count=len(chosen), last=len(episode) - 1, fps=dataset.fps)
    parts: list[dict[str, Any]] = [{"type": "text", "text": words}]
    images = dataset.frames(camera)
    for frame in chosen.tolist():
        url = data_url(jpeg(images[episode.start + frame], MAX_IMAGE_SIDE))
        parts += [{"type": "text", "text": f"frame {frame}"}, {"type": "image_url", "image_url": {"url": url}}]
    return parts


def _cache_key(model: str, messages: Sequence[dict[str, Any]]) -> str:
    return hashlib.sha256(json.dumps([model, messages]).encode()).hexdigest()[:32]


def _write_cache(file: Path, segments: Sequence[Segment]) -> None:
    answer = Answer(segments=[AnsweredSegment(start=s.first, end=s.last, text=s.text) for s in segments])
    with disk_errors(file.parent, "free disk space and run again"):
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(file, answer.model_dump_json())


def _parse_answer(text: str, dataset: LeRobotDataset, episode: Episode) -> list[Segment]:
    """The segments of an answer. ValueError says what is wrong with it."""
    try:
        answer = Answer.model_validate_json(_extract_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    if not answer.segments:
        raise ValueError("it has no segments")
    segments = [Segment(episode.index, s.start, s.end, s.text) for s in answer.segments]
    places = [f"segment {number}" for number in range(len(segments))]
    return validate_segments(segments, dataset.episodes, places, "correct it")


def _extract_json(text: str) -> str:
    """The JSON object of an answer: alone, in the only fenced block, or between words."""
    fenced = _FENCE.findall(text)
    if len(fenced) == 1:
        return fenced[0]
    found = _BARE.search(text)
    if len(fenced) > 1 or found is None:
        raise ValueError(f"it must hold one JSON object, it has {len(fenced)}")
    return found.group()
