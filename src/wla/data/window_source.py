"""A dataset of a mixture, opened for sampling: all that windows need of it, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Int64, UInt8
from torch import Tensor

from wla.batch import Latents
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory_replay import MemoryReplay
from wla.data.paraphrases import read_paraphrases
from wla.data.pseudo_actions import load_pseudo_actions
from wla.data.robot_transform import RobotTransform
from wla.data.training_frames import Frames, open_training_frames
from wla.data.windows import Window, subtask_window, window
from wla.types import ImageFit, ImageKey, image_name_hint


@dataclass
class WindowSource:
    """A dataset of N frames and, per frame, what windows that start there need.

    frames: (camera of the dataset, side in pixels) -> square images. state: normalised, in the robot's own dimensions.
    actions: in the robot's units; None when none are learned from it. start: first frame of the frame's episode.
    valid_starts: the frames at which windows may start. paraphrases: by task, of the tasks
    that have some. memory_replay: the memory of a policy that acted on the dataset. robot: between its robot and the
    model; None where only prompts are made of it, of a policy for one robot. latents: of the primary camera's frames.
    """

    dataset: LeRobotDataset
    frames: dict[tuple[str, int], Frames]
    state: Float32[np.ndarray, "N S"]
    actions: Float32[np.ndarray, "N A"] | None
    start: Int64[np.ndarray, " N"]
    valid_starts: Int64[np.ndarray, " V"]
    paraphrases: dict[str, tuple[str, ...]]
    memory_replay: MemoryReplay | None
    robot: RobotTransform | None = None
    latents: Float16[np.ndarray, "N C h w"] | None = None

    @classmethod
    def prepare(
        cls,
        dataset: LeRobotDataset,
        config: DatasetConfig,
        sides: Mapping[str, Sequence[int]],
        fit: ImageFit,
        primary: str,
        robot: RobotTransform,
        *,
        lookahead: int,
        chunk: int,
        held_out: bool = False,
    ) -> Self:
        """sides: camera of the model -> sides of the squares that are read of it. fit: how images become squares.
        primary: the camera that no dataset may lack. robot: of the dataset, or of one of the policy's where the dataset
        is of another robot and without actions. lookahead: number of frames of the episode that must follow the first
        frame of a window. held_out: windows of the episodes that the configuration holds out, instead of others.

        ValueError when no window fits, a camera is absent, or a file that the configuration names does not fit.
        """
        tasks = [dataset.instructions[index] for index in np.unique(dataset.task_index)]
        paraphrases = {} if config.instructions is None else read_paraphrases(Path(config.instructions), tasks)
        lengths = [len(episode) for episode in dataset.episodes]
        start = np.repeat([episode.start for episode in dataset.episodes], lengths)
        valid_starts = chunk_starts(dataset, lookahead, chunk)
        if config.holds_out:
            held = np.repeat(config.held_out(dataset), lengths)
            valid_starts = _of_split(dataset, valid_starts, held == held_out)
        if config.interventions == "only":
            valid_starts = _taken_over(dataset, valid_starts)
        frames = _open_frames(dataset, config, sides, fit, primary, robot.cameras)
        dim = robot.state.dim
        other_robot = not config.actions and dataset.state.shape[1] != dim
        values = np.zeros((len(dataset), dim), np.float32) if other_robot else robot.state.normalize(dataset.state)
        actions = dataset.actions if config.actions else None
        if config.pseudo_actions is not None:
            representation = robot.actions.representation
            actions = load_pseudo_actions(Path(config.pseudo_actions), len(dataset), representation.robot_dim)
            if other_robot and representation.relative:
                raise ValueError(
                    f"{dataset.root}: records no state of the robot that pseudo-actions could be relative to; leave "
                    "pseudo_actions or action_representation.relative out"
                )
        if config.interventions == "only" and actions is not None:
            # What follows in a chunk after the person has let go is not to be learned: unknown actions are masked.
            actions = np.where(dataset.require_interventions()[:, None], actions, np.float32(np.nan))
        if config.action_fraction < 1 and actions is not None:
            learned = np.repeat(config.with_actions(dataset), lengths)
            actions = np.where(learned[:, None], actions, np.float32(np.nan))
        memory_replay = (
            None if config.memory_replay is None else MemoryReplay.load(Path(config.memory_replay), np.unique(start))
        )
        return cls(dataset, frames, values, actions, start, valid_starts, paraphrases, memory_replay, robot)

    def sample_frames(
        self, count: int, policy_memory_fraction: float, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " B"], Bool[np.ndarray, " B"]]:
        """First frames of windows, ascending so that neighbours are read together, and those whose prompts take their
        memory from `memory_replay`: these move to the last frame of their episode at which the policy acted, if any."""
        frames = np.sort(self.valid_starts[rng.integers(len(self.valid_starts), size=count)])
        if self.memory_replay is None:
            return frames, np.zeros(count, bool)
        replayed = rng.random(count) < policy_memory_fraction
        # Not every frame at which the policy acted may start a window: its chunk may not have been executed.
        known = np.intersect1d(self.memory_replay.frames, self.valid_starts)
        rows = np.searchsorted(known, frames, side="right") - 1
        moved = np.concatenate([known, [-1]])[rows]  # row -1: none at or before
        replayed &= moved >= self.start[frames]
        return np.where(replayed, moved, frames), replayed

    @property
    def end(self) -> Int64[np.ndarray, " N"]:
        """The frame after the last one that a window from each frame may reach: that of its episode, or of a gap."""
        return self.dataset.run_end

    def windows(
        self,
        frames: Int64[np.ndarray, " B"],
        chunk: int,
        history: int,
        subgoal_offset: Int64[np.ndarray, " B"] | int | None,
    ) -> Window:
        """The windows that start at these frames; see `wla.data.windows.window`."""
        return window(frames, self.dataset.run_start[frames], self.end[frames], chunk, history, subgoal_offset)

    def frames_at(self, key: ImageKey, frames: Int64[np.ndarray, " B"], history: int) -> Int64[np.ndarray, " B"]:
        """The frames that a model's image shows at these frames. history: the history distance, in frames."""
        if key.time == "first":
            return self.start[frames]
        return np.maximum(frames - key.past * history, self.dataset.run_start[frames])

    def images(self, camera: str, frames: Int64[np.ndarray, " B"], side: int) -> UInt8[Tensor, "B S S 3"]:
        """Images of a camera of the model as squares of `side` pixels, black if the dataset lacks the camera."""
        assert self.robot is not None, "prompts alone have no images"
        own = self.robot.cameras[camera]
        if own not in self.dataset.cameras:
            return torch.zeros(len(frames), side, side, 3, dtype=torch.uint8)
        return torch.from_numpy(np.asarray(self.frames[own, side][frames]))

    def latents_of(self, frames: Int64[np.ndarray, " B"], subgoal: Int64[np.ndarray, " B"]) -> Latents:
        """Latents of frames and of their subgoals."""
        assert self.latents is not None
        current, later = (torch.from_numpy(np.asarray(self.latents[each])) for each in (frames, subgoal))
        return Latents(current, later)

    def replayed_memory(self, frame: int) -> tuple[Sequence[str], Sequence[str]]:
        """Finished subtasks in the policy's memory at the frame, and the subtasks that it had predicted last."""
        assert self.memory_replay is not None
        row = int(self.memory_replay.at_or_before(np.array([frame]))[0])
        return self.memory_replay.memories[row], self.memory_replay.subtasks[row]

    def instruction(self, frame: int, rng: np.random.Generator) -> str:
        """The instruction of the frame's task, paraphrased at random where there are paraphrases."""
        task = self.dataset.instructions[self.dataset.task_index[frame]]
        texts = self.paraphrases.get(task)
        # Nothing is drawn without a file, so that runs without paraphrases stay the same bit for bit.
        return task if texts is None else texts[rng.integers(len(texts))]

    def in_prompt(self, instruction: str) -> str:
        """The instruction as prompts have it: of several robots, after the robot's name."""
        return instruction if self.robot is None else self.robot.instruction(instruction)

    def num_labelled(self, chunk: int) -> int:
        """Number of windows that cover a frame with a subtask."""
        if self.dataset.subtasks is None:
            return 0
        labelled = np.concatenate([[0], np.cumsum(self.dataset.subtasks >= 0)])
        last = np.minimum(self.valid_starts + chunk + 1, self.end[self.valid_starts])
        return int((labelled[last] > labelled[self.valid_starts]).sum())

    def subtasks(self, first: int, last: int) -> list[str]:
        """The consecutive distinct subtasks of the frames first .. last."""
        if self.dataset.subtasks is None:
            return []
        return [self.dataset.subtask_texts[index] for index in subtask_window(self.dataset.subtasks, first, last)]


def chunk_starts(dataset: LeRobotDataset, lookahead: int, chunk: int) -> Int64[np.ndarray, " V"]:
    """Returns the frames with `lookahead` frames after them whose whole chunk was executed. Other recorded actions, as
    DAgger leaves them, do not lead to the frames that follow. ValueError for none."""
    end = dataset.run_end
    starts = np.flatnonzero(np.arange(len(dataset)) + lookahead < end)
    if not starts.size:
        raise ValueError(
            f"{dataset.root}: no episode is longer than {lookahead} frames, so no chunk has a frame after it; "
            "use longer episodes or a shorter chunk"
        )
    not_executed = np.concatenate([[0], np.cumsum(~dataset.action_executed)])
    starts = starts[not_executed[np.minimum(starts + chunk, end[starts])] == not_executed[starts]]
    if not starts.size:
        raise ValueError(
            f"{dataset.root}: nowhere were {chunk} recorded actions executed one after the other; use a shorter chunk "
            "or a dataset whose actions were executed"
        )
    return starts


def _taken_over(dataset: LeRobotDataset, starts: Int64[np.ndarray, " V"]) -> Int64[np.ndarray, " W"]:
    """The windows that begin where a person acted. ValueError for none."""
    chosen = starts[dataset.require_interventions()[starts]]
    if not chosen.size:
        raise ValueError(f"{dataset.root}: in no whole window did a person take over; leave out interventions=only")
    return chosen


def _of_split(
    dataset: LeRobotDataset, starts: Int64[np.ndarray, " V"], allowed: Bool[np.ndarray, " N"]
) -> Int64[np.ndarray, " W"]:
    chosen = starts[allowed[starts]]
    if not chosen.size:
        raise ValueError(
            f"{dataset.root}: training or validation is left without a whole window; hold out other episodes"
        )
    return chosen


def _open_frames(
    dataset: LeRobotDataset,
    config: DatasetConfig,
    sides: Mapping[str, Sequence[int]],
    fit: ImageFit,
    primary: str,
    cameras: Mapping[str, str | None],
) -> dict[tuple[str, int], Frames]:
    """Images by camera of the dataset and side. ValueError when the dataset lacks the primary camera or, if it has
    actions to learn, any of its robot's that the model reads. cameras: see `RobotTransform`."""
    needed = [cameras[camera] for camera in (sides if config.actions else [primary])]
    absent = [camera for camera in needed if camera is not None and camera not in dataset.cameras]
    if absent:
        raise ValueError(
            f"{dataset.root}: no camera {absent[0]!r}; the dataset has {list(dataset.cameras)}, name them in "
            f"`columns`{image_name_hint(dataset.cameras)}"
        )
    there: dict[str, list[int]] = {}
    for camera, each in sides.items():
        own = cameras[camera]
        if own in dataset.cameras and own is not None:
            there.setdefault(own, []).extend(side for side in each if side not in there.get(own, ()))
    return open_training_frames(dataset, there, fit, cache=config.cache_frames, limit_gb=config.cache_gb)
