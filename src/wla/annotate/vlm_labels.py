"""Subtask labels from a vision-language model behind an OpenAI-compatible URL: key frames in, segments out as JSON.

Valid answers are cached in `DATASET/.cache/annotate` under a hash of the request (model, text, images), so that a
repeated command requests only missing answers. The dataset itself is not changed here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from wla.annotate.chat_client import ChatClient
from wla.annotate.frames import key_frames, primary_camera
from wla.annotate.segments import Segment, validate_segments
from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.files import atomic_write_text, clear_staging, disk_errors, read_text
from wla.foreign import path_below
from wla.html import data_url, jpeg
from wla.progress import progress_bar

CACHE = ".cache/annotate"
MAX_IMAGE_SIDE = 512
"""Longer side of the images in a request, pixels."""
MAX_ANSWERS = 3
"""Number of invalid answers for one episode that is an error."""

PROMPT = """A robot was told: "{instruction}"
You see {count} frames of its recording, which has the frames 0 to {last} at {fps:g} frames per second; each image comes
after its number. Divide the recording into consecutive subtasks. Name each one with a short imperative in the words of
the instruction, like "reach the red block" or "release the red block". A new subtask begins where what the robot is
about to do changes: before, during and after it grips, moves or lets go of something.
Answer with one JSON object and nothing else: {{"segments": [{{"start": 0, "end": 11, "text": "..."}}, ...]}}
start and end are numbers of frames, both included. Segments are in order and do not overlap."""


class AnsweredSegment(BaseModel):
    """Segment as the model writes it; start and end are frames of the episode, both included."""

    model_config = ConfigDict(strict=True)

    start: int
    end: int
    text: str


class Answer(BaseModel):
    """JSON that the model must return."""

    segments: list[AnsweredSegment]


def label_dataset(dataset: LeRobotDataset, client: ChatClient, *, frames: int) -> list[Segment]:
    """Requests the segments of one episode after the other.

    Args:
        dataset: dataset with a camera.
        client: client of a vision-language model.
        frames: number of images in a request.

    Raises:
        ValueError: the dataset has no camera, or the segments of an episode could not be obtained; earlier answers
            stay in the cache.
    """
    camera = primary_camera(dataset)
    folder = dataset.root / CACHE
    clear_staging(folder)
    kept = f"nothing was changed; answers so far are cached in {folder}, repeat the command to resume"
    segments: list[Segment] = []
    try:
        with progress_bar() as progress:
            for episode in progress.track(dataset.episodes, description="labelling episodes"):
                segments += label_episode(dataset, client, episode, camera, frames=frames)
    except ValueError as error:
        raise ValueError(f"{error}; {kept}") from error
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(kept) from stop
    return segments


def label_episode(
    dataset: LeRobotDataset, client: ChatClient, episode: Episode, camera: str, *, frames: int
) -> list[Segment]:
    """Returns the segments of one episode, from the cache or from the server.

    An invalid answer is returned to the model together with the reason.

    Args:
        dataset: dataset.
        client: client of a vision-language model.
        episode: episode of the dataset.
        camera: camera of the images.
        frames: number of images in the request.

    Raises:
        ValueError: MAX_ANSWERS answers were invalid, or the server could not be reached.
    """
    name = f"{dataset.root} episode {episode.index}"
    messages = [{"role": "user", "content": _request(dataset, episode, camera, frames)}]
    file = path_below(dataset.root, f"{CACHE}/{_cache_key(client.model, messages)}.json", dataset.root)
    if file.is_file():
        return _parse_answer(read_text(file, "JSON"), dataset, episode)
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
                    f"{name}: {client.model} gave no valid answer in {MAX_ANSWERS} attempts ({error}); try another "
                    "--model"
                ) from error
            correction = f"That cannot be used: {error}. Answer again, with one JSON object and nothing else."
            messages = [
                *messages,
                {"role": "assistant", "content": text},
                {"role": "user", "content": correction},
            ]
            continue
        _write_cache(file, segments)
        return segments
    raise AssertionError("unreachable")


def _request(dataset: LeRobotDataset, episode: Episode, camera: str, count: int) -> list[dict[str, Any]]:
    frames = key_frames(episode, count)
    prompt = PROMPT.format(instruction=episode.instruction, count=len(frames), last=len(episode) - 1, fps=dataset.fps)
    parts: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
    images = dataset.random_access_frames(camera)[episode.start + frames]
    for frame, image in zip(frames.tolist(), images, strict=True):
        url = data_url(jpeg(image, MAX_IMAGE_SIDE))
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
    """Returns the segments of an answer. ValueError with the reason for an invalid one."""
    try:
        answer = Answer.model_validate_json(_extract_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from error
    if not answer.segments:
        raise ValueError("it has no segments")
    segments = [Segment(episode.index, s.start, s.end, s.text) for s in answer.segments]
    locations = [f"segment {number}" for number in range(len(segments))]
    return validate_segments(segments, dataset.episodes, locations, "correct it")


def _extract_json(text: str) -> str:
    """Returns the JSON object of an answer: alone, in the only fenced block, or surrounded by text."""
    blocks = (block.strip().removeprefix("json").strip() for block in text.split("```")[1:-1:2])
    fenced = [block for block in blocks if block.startswith("{") and block.endswith("}")]
    if len(fenced) == 1:
        return fenced[0]
    start, end = text.find("{"), text.rfind("}")
    if fenced or not 0 <= start < end:
        raise ValueError(f"it must contain one JSON object, it has {len(fenced)}")
    return text[start : end + 1]
