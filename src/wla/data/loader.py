"""From datasets to training batches: a weighted mixture of windows.

Which samples a batch holds depends only on the generator that is passed in, so a resumed run sees the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from wla.config import Config
from wla.data.chat_prompts import ChatPrompter
from wla.data.instructions import read_phrasings
from wla.data.lerobot import LeRobotDataset
from wla.data.lerobot_columns import Columns
from wla.data.normalize import MinMaxNormalizer
from wla.data.prompts import Prompter, left_pad
from wla.data.transforms import shrink
from wla.data.windows import subtask_window, window
from wla.specs import RobotSpec
from wla.types import IGNORE, Batch


class DatasetConfig(Config):
    """One dataset of a mixture."""

    path: str
    weight: float | None = None
    """Share of the mixture; without it the dataset counts by its number of frames."""
    instructions: str | None = None
    """JSON file {"<task text>": ["phrasing", ...]}: each sample gets one of its task's phrasings, by chance."""
    columns: Columns = Columns()
    """Which columns are state, action and cameras, where another program recorded the dataset."""
    robot: RobotSpec | None = None
    """The robot of a dataset that does not carry it (meta/wla_robot.json)."""

    def open(self) -> LeRobotDataset:
        """ValueError when the dataset cannot be read or is of another robot."""
        return LeRobotDataset(self.path, columns=self.columns, robot=self.robot)


@dataclass
class WindowBatches:
    """Draws batches from datasets of one robot.

    cameras: camera -> side that the backbone sees, the primary one first. instructions: of each dataset, a file of
    phrasings of which each sample gets one, or None. empty_instructions: share of the samples whose instruction is
    emptied, for classifier-free guidance. with_subgoal: draw only windows whose episode goes on after the chunk.
    ValueError when a dataset has no such window, or a file no phrasing of a task.
    """

    datasets: Sequence[LeRobotDataset]
    weights: Sequence[float | None]
    prompter: Prompter | ChatPrompter
    state: MinMaxNormalizer
    action: MinMaxNormalizer
    action_dim: int
    cameras: dict[str, int]
    chunk: int
    instructions: Sequence[str | None] | None = None
    empty_instructions: float = 0.0
    with_subgoal: bool = False
    _sources: list[_Source] = field(init=False)

    def __post_init__(self) -> None:
        after = self.chunk if self.with_subgoal else 0
        files = self.instructions or [None] * len(self.datasets)
        self._sources = [
            _Source.of(dataset, self.cameras, self.state, after, file)
            for dataset, file in zip(self.datasets, files, strict=True)
        ]
        shares = [
            float(len(dataset)) if weight is None else weight
            for dataset, weight in zip(self.datasets, self.weights, strict=True)
        ]
        self._shares = np.array(shares) / sum(shares)

    def draw(self, size: int, rng: np.random.Generator) -> Batch:
        """A batch of `size` windows, datasets by weight and frames uniformly within them."""
        counts = rng.multinomial(size, self._shares)
        parts = [
            self._part(source, source.drawn[rng.integers(len(source.drawn), size=count)], rng)
            for source, count in zip(self._sources, counts, strict=True)
            if count
        ]
        rows = [row for part in parts for row in part.rows]
        tokens, mask = left_pad([row[0] for row in rows], self.prompter.pad)
        labels, _ = left_pad([row[1] for row in rows], IGNORE)
        primary = next(iter(self.cameras))
        return Batch(
            tokens=tokens,
            attention_mask=mask,
            labels=labels,
            images={camera: torch.cat([part.images[camera] for part in parts]) for camera in self.cameras},
            state=torch.cat([part.state for part in parts]),
            actions=torch.cat([part.actions for part in parts]),
            action_mask=torch.cat([part.action_mask for part in parts]),
            subgoal=torch.cat([part.images[f"subgoal {primary}"] for part in parts]),
            subgoal_mask=torch.cat([part.subgoal_mask for part in parts]),
            ids=[name for part in parts for name in part.ids],
        )

    def _part(self, source: _Source, frames: np.ndarray, rng: np.random.Generator) -> _Part:
        dataset = source.dataset
        frames = np.sort(frames)  # neighbouring reads of the memory map
        places = window(frames, source.start[frames], source.end[frames], self.chunk, 0)
        primary = next(iter(self.cameras))
        images = {camera: shrink(source.frames[camera][frames], side) for camera, side in self.cameras.items()}
        images[f"subgoal {primary}"] = shrink(source.frames[primary][places.subgoal], self.cameras[primary])
        mask = np.broadcast_to(places.chunk_mask[..., None], (*places.chunk.shape, self.action_dim)).copy()
        if dataset.actions is None:
            actions = np.zeros(mask.shape, np.float32)
            mask[:] = False
        else:
            actions = self.action.normalize(dataset.actions[places.chunk])
        return _Part(
            rows=[self._row(source, int(frame), rng) for frame in frames],
            images=images,
            state=torch.from_numpy(source.state[frames]),
            actions=torch.from_numpy(actions),
            action_mask=torch.from_numpy(mask),
            subgoal_mask=torch.from_numpy(places.subgoal_mask),
            ids=[dataset.frame_id(int(frame)) for frame in frames],
        )

    def _row(self, source: _Source, frame: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
        dataset = source.dataset
        emptied = rng.random() < self.empty_instructions
        instruction = "" if emptied else source.instruction(frame, rng)
        subtasks = None
        if dataset.subtasks is not None:
            chain = subtask_window(dataset.subtasks, frame, self.chunk, int(source.end[frame]))
            subtasks = [dataset.subtask_texts[index] for index in chain] or None
        return self.prompter.sample(instruction, source.state[frame], subtasks)


@dataclass
class _Source:
    """A dataset with what every draw needs of it, computed once.

    state: normalised. start, end: of each frame's episode. drawn: the frames that windows may begin at. phrasings: of
    each task that has several.
    """

    dataset: LeRobotDataset
    frames: dict[str, np.ndarray]
    state: np.ndarray
    start: np.ndarray
    end: np.ndarray
    drawn: np.ndarray
    phrasings: dict[str, tuple[str, ...]]

    @classmethod
    def of(
        cls, dataset: LeRobotDataset, cameras: dict[str, int], state: MinMaxNormalizer, after: int, file: str | None
    ) -> _Source:
        """after: how many frames of the episode must follow a drawn one. file: the phrasings of the tasks."""
        tasks = [dataset.instructions[index] for index in np.unique(dataset.task_index)]
        phrasings = {} if file is None else read_phrasings(Path(file), tasks)
        frames = {camera: dataset.frames(camera) for camera in cameras}
        lengths = [len(episode) for episode in dataset.episodes]
        start = np.repeat([episode.start for episode in dataset.episodes], lengths)
        end = np.repeat([episode.end for episode in dataset.episodes], lengths)
        drawn = np.flatnonzero(np.arange(len(dataset)) + after < end)
        if not drawn.size:
            raise ValueError(
                f"{dataset.root}: no episode is longer than {after} frames, so no chunk has a frame after it"
            )
        return cls(dataset, frames, state.normalize(dataset.state), start, end, drawn, phrasings)

    def instruction(self, frame: int, rng: np.random.Generator) -> str:
        """The frame's task, in one of its phrasings."""
        task = self.dataset.instructions[self.dataset.task_index[frame]]
        texts = self.phrasings.get(task)
        # Without a file nothing is drawn, so that runs from before there were any go on bit for bit.
        return task if texts is None else texts[rng.integers(len(texts))]


@dataclass
class _Part:
    """The samples of a batch that come from one dataset."""

    rows: list[tuple[list[int], list[int]]]
    images: dict[str, torch.Tensor]
    state: torch.Tensor
    actions: torch.Tensor
    action_mask: torch.Tensor
    subgoal_mask: torch.Tensor
    ids: list[str]
