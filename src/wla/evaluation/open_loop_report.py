"""The folder of an open-loop evaluation: metrics, drawings, and one page that shows what was read and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from wla.data.lerobot.reader import Episode, LeRobotDataset
from wla.evaluation.action_errors import ActionErrors
from wla.evaluation.action_plots import draw_episode, draw_errors
from wla.evaluation.open_loop_metrics import OpenLoopMetrics
from wla.evaluation.open_loop_summary import training
from wla.files import atomic_write_text, disk_errors
from wla.html import beside, data_url, jpeg, template, write_page
from wla.rollout.recorded_episodes import RecordedCall, steps_until_next_call
from wla.types import ActionChunk, Policy

METRICS_FILE, ERRORS_FILE, PAGE = "offline.json", "errors.png", "offline.html"
MAX_EPISODES, MAX_CALLS = 12, 8
"""Episodes on the page, the first ones, and calls of each, evenly spread."""
HINT = "free disk space or choose another --out"
PIXELS = 160


@dataclass(frozen=True)
class ShownCall:
    """A call on the page. prompt: its text, '' for a policy without. images: what the policy read, and what it
    imagined beside the recorded frame at the chunk's end, as data URLs by their captions."""

    step: int
    predicted: Sequence[str]
    labels: Sequence[str]
    prompt: str
    images: dict[str, str]


class OpenLoopReport:
    """Collects calls while episodes are replayed, and writes them."""

    def __init__(self, dataset: LeRobotDataset, policy: Policy[Any], episodes: Sequence[Episode]) -> None:
        self._dataset, self._policy = dataset, policy
        self._calls: dict[int, list[ShownCall]] = {episode.index: [] for episode in episodes[:MAX_EPISODES]}
        self._count = dict.fromkeys(self._calls, 0)

    def add(self, call: RecordedCall[Any], chunk: ActionChunk) -> None:
        """Adds a call of one of the episodes and the policy's answer."""
        episode = self._dataset.episode_of(call.frame)
        if episode.index not in self._calls:
            return
        expected = -(-len(episode) // steps_until_next_call(chunk))
        stride = -(-expected // MAX_CALLS)
        if self._count[episode.index] % stride == 0:
            self._calls[episode.index].append(self._shown(call, chunk, episode))
        self._count[episode.index] += 1

    def write(self, out: Path, metrics: OpenLoopMetrics, actions: ActionErrors | None) -> None:
        """Writes metrics, drawings and page. ValueError when the disk refuses."""
        with disk_errors(out, HINT):
            out.mkdir(parents=True, exist_ok=True)
            atomic_write_text(out / METRICS_FILE, metrics.to_json() + "\n")
            drawn = self._draw(out, metrics, actions)
        link = beside(out / PAGE)
        page = template("evaluation/open_loop.html").render(
            metrics=metrics,
            training=training(metrics),
            errors=link(out / ERRORS_FILE) if metrics.dimensions else None,
            episodes=[
                (self._dataset.episodes[index], link(drawn[index]) if index in drawn else None, calls)
                for index, calls in self._calls.items()
            ],
        )
        write_page(out / PAGE, page, HINT)

    def _draw(self, out: Path, metrics: OpenLoopMetrics, actions: ActionErrors | None) -> dict[int, Path]:
        """Draws errors and episodes. Returns the file of each episode."""
        if actions is None or not metrics.dimensions:
            return {}
        draw_errors(out / ERRORS_FILE, metrics.dimensions)
        drawn = {}
        for index in self._calls:
            recorded, start = actions.recorded_episode(index)
            chunks = actions.episodes[index].chunks
            held = {step: actions.hold_still(start + step) for step in chunks}
            drawn[index] = out / f"episode_{index:06d}.png"
            draw_episode(drawn[index], self._policy.robot_spec.action, recorded, chunks, held, actions.mean_action)
        return drawn

    def _shown(self, call: RecordedCall[Any], chunk: ActionChunk, episode: Episode) -> ShownCall:
        primary = getattr(self._policy, "primary", self._policy.robot_spec.observation.primary_camera)
        images, prompt = {primary: call.observation.images[primary]} if primary in call.observation.images else {}, ""
        inputs = getattr(self._policy, "inputs_of", None)
        if inputs is not None:
            images, prompt = inputs(call.observation, call.state)
        urls = {f"reads {name}": _url(image) for name, image in images.items()}
        last = call.frame + len(chunk.actions)
        if chunk.subgoal is not None:
            urls["imagines"] = _url(chunk.subgoal)
        end = int(self._dataset.run_end[call.frame])
        if last < end:
            frame = self._dataset.frames(primary)[last]
            if chunk.subgoal is not None:
                frame = self._policy.resize(frame[None], len(chunk.subgoal)).numpy()[0]  # type: ignore[attr-defined]
            urls["recorded then"] = _url(frame)
        labels = self._labels(call.frame, min(last, end - 1))
        return ShownCall(call.frame - episode.start, chunk.subtasks, labels, prompt, urls)

    def _labels(self, first: int, last: int) -> list[str]:
        """The subtasks of these frames, each once in a row."""
        if self._dataset.subtasks is None:
            return []
        rows = [int(row) for row in self._dataset.subtasks[first : last + 1] if row >= 0]
        return [
            self._dataset.subtask_texts[row]
            for number, row in enumerate(rows)
            if number == 0 or rows[number - 1] != row
        ]


def _url(image: UInt8[np.ndarray, "H W 3"]) -> str:
    return data_url(jpeg(image, PIXELS))
