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
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.format import INFO
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory import MemoryAugmentation, prune_memory
from wla.data.memory_replay import MemoryReplay
from wla.data.normalize import MinMaxNormalizer
from wla.data.paraphrases import read_paraphrases
from wla.data.prompts.kinds import AnyPrompter
from wla.data.prompts.nano import left_pad
from wla.data.pseudo_actions import load_pseudo_actions
from wla.data.transforms import resize
from wla.data.video.random_access import RandomAccessFrames
from wla.data.windows import Window, subtask_window, window
from wla.specs import RobotSpec
from wla.types import FIRST, HISTORY, IGNORE_INDEX, Batch, camera_of


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
    actions: bool = True
    """False: learn the world from it and no actions; it may be of another robot, and lack cameras but the primary one,
    which are then black."""
    pseudo_actions: str | None = None
    """File of `wla data label-actions`: actions to learn in place of the dataset's own, which it need not have; those
    that are not known (nan) are not learned."""
    memory_replay: str | None = None
    """File of `wla record-memory`: what a policy remembered while it acted on this dataset."""
    cache_frames: bool = True
    """Decode all videos once into `ROOT/.cache`, the fastest to read; False: seek in them, for datasets too large."""

    def expand(self) -> list[DatasetConfig]:
        """This dataset or, of a folder that holds several, each of them, with equal shares of the weight.

        ValueError when there is none.
        """
        root = Path(self.path)
        found = [root] if (root / INFO).is_file() else sorted(file.parents[1] for file in root.glob(f"**/{INFO}"))
        if not found:
            raise ValueError(f"{root}: neither a LeRobot dataset (with {INFO}) nor a folder that holds some")
        weight = None if self.weight is None else self.weight / len(found)
        return [self.replace(path=str(path), weight=weight) for path in found]

    def open(self) -> LeRobotDataset:
        """ValueError when the dataset cannot be read or is of another robot."""
        return LeRobotDataset(self.path, columns=self.columns, robot=self.robot)


@dataclass
class WindowSampler:
    """Draws batches of windows.

    images: image -> side that the backbone sees (`wla.types.HISTORY` and `FIRST` name those of other times). primary:
    the camera whose frame after the chunk is imagined, as a square of `subgoal_size` pixels. errors: how far what a prompt
    tells of the past is off. instruction_dropout: share of the samples whose instruction is emptied, for classifier-free
    guidance. blind: share of the samples that see neither images nor the state, and learn nothing but what to say.
    with_subgoal: draw only windows whose episode goes on after the chunk. targets: how many frames from now
    the imagined frame is, one of them drawn for each sample; none for the chunk's length. ValueError when a dataset has
    no such window, or a file no phrasing of a task.
    """

    datasets: Sequence[LeRobotDataset]
    configs: Sequence[DatasetConfig]
    prompter: AnyPrompter
    state_normalizer: MinMaxNormalizer
    action_normalizer: MinMaxNormalizer
    action_dim: int
    images: dict[str, int]
    primary: str
    subgoal_size: int | None
    chunk: int
    memory_augmentation: MemoryAugmentation
    instruction_dropout: float = 0.0
    image_dropout: float = 0.0
    with_subgoal: bool = False
    subgoal_offsets: tuple[int, ...] = ()
    _sources: list[_Source] = field(init=False)

    def __post_init__(self) -> None:
        lookahead = self.chunk if self.with_subgoal else 0
        cameras = list(dict.fromkeys(map(camera_of, self.images)))
        self._sources = [
            _Source.of(dataset, config, cameras, self.state_normalizer, self.action_normalizer, lookahead, self.chunk)
            for dataset, config in zip(self.datasets, self.configs, strict=True)
        ]
        weighted = [config.weight is not None for config in self.configs]
        if any(weighted) and not all(weighted):
            raise ValueError(
                f"{self.configs[weighted.index(False)].path}: no weight, other datasets have one; give all or none"
            )
        shares = [
            float(len(dataset)) if config.weight is None else config.weight
            for dataset, config in zip(self.datasets, self.configs, strict=True)
        ]
        self._dataset_probabilities = np.array(shares) / sum(shares)

    def sample_batch(self, size: int, rng: np.random.Generator, *, images: bool = True) -> Batch:
        """A batch of `size` windows, datasets by weight and frames uniformly within them.

        Without images, which cost the most, it is the same but for them and the subgoals.
        """
        counts = rng.multinomial(size, self._dataset_probabilities)
        parts = [
            self._part(
                source,
                *source.sample_frames(int(count), self.memory_augmentation.policy_memory_fraction, rng),
                rng,
                images=images,
            )
            for source, count in zip(self._sources, counts, strict=True)
            if count
        ]
        rows = [row for part in parts for row in part.rows]
        subgoals = [part.subgoal for part in parts if part.subgoal is not None]
        tokens, mask = left_pad([row[0] for row in rows], self.prompter.pad)
        labels, _ = left_pad([row[1] for row in rows], IGNORE_INDEX)
        return Batch(
            tokens=tokens,
            attention_mask=mask,
            labels=labels,
            images={name: torch.cat([part.images[name] for part in parts]) for name in parts[0].images},
            state=torch.cat([part.state for part in parts]),
            actions=torch.cat([part.actions for part in parts]),
            action_mask=torch.cat([part.action_mask for part in parts]),
            subgoal=torch.cat(subgoals) if subgoals else None,
            subgoal_mask=torch.cat([part.subgoal_mask for part in parts]),
            ids=[name for part in parts for name in part.ids],
        )

    def _part(
        self, source: _Source, frames: np.ndarray, from_policy: np.ndarray, rng: np.random.Generator, *, images: bool
    ) -> _Part:
        """own: which frames tell what a policy remembered there."""
        subgoal_offset: np.ndarray | int | None = self.subgoal_offsets[0] if self.subgoal_offsets else None
        if len(self.subgoal_offsets) > 1:
            subgoal_offset = rng.choice(self.subgoal_offsets, size=len(frames))
        places = window(
            frames, source.start[frames], source.end[frames], self.chunk, self.prompter.history, subgoal_offset
        )
        mask = np.broadcast_to(places.chunk_mask[..., None], (*places.chunk.shape, self.action_dim)).copy()
        if source.actions is None:
            actions = np.zeros(mask.shape, np.float32)
            mask[:] = False
        else:
            actions = self.action_normalizer.normalize(source.actions[places.chunk])
            mask &= np.isfinite(actions)
            actions = np.nan_to_num(actions)
        state, sees = source.state[frames], np.ones(len(frames), bool)
        if self.image_dropout:  # else nothing is drawn, so that runs without it go on bit for bit
            sees = rng.random(len(frames)) >= self.image_dropout
            state, mask = state * sees[:, None], mask & sees[:, None, None]
        looks = self._images(source, frames, places) if images else {}
        for look in looks.values():
            look[torch.from_numpy(~sees)] = 0
        return _Part(
            rows=[
                self._row(source, int(frame), values, bool(has_history), bool(replayed), rng)
                for frame, values, has_history, replayed in zip(
                    frames, state, places.history_mask, from_policy, strict=True
                )
            ],
            images=looks,
            subgoal=resize(source.frames[self.primary][places.subgoal], self.subgoal_size)
            if images and self.subgoal_size is not None
            else None,
            state=torch.from_numpy(state),
            actions=torch.from_numpy(actions),
            action_mask=torch.from_numpy(mask),
            subgoal_mask=torch.from_numpy(places.subgoal_mask & sees),
            ids=[source.dataset.frame_id(int(frame)) for frame in frames],
        )

    def _images(self, source: _Source, frames: np.ndarray, places: Window) -> dict[str, torch.Tensor]:
        """What the backbone sees of these frames, by image."""
        times = {FIRST: source.start[frames], HISTORY: places.history}
        found = {}
        for name, side in self.images.items():
            camera = camera_of(name)
            if camera not in source.frames:
                found[name] = torch.zeros(len(frames), side, side, 3, dtype=torch.uint8)  # a camera it never had
                continue
            found[name] = resize(source.frames[camera][times.get(name.removesuffix(camera), frames)], side)
        return found

    def _row(
        self,
        source: _Source,
        frame: int,
        state: np.ndarray,
        has_history: bool,
        from_policy: bool,
        rng: np.random.Generator,
    ) -> tuple[list[int], list[int]]:
        """state: normalised, as this sample sees it."""
        emptied = rng.random() < self.instruction_dropout
        instruction = "" if emptied else source.instruction(frame, rng)
        begin, end = int(source.start[frame]), int(source.end[frame])
        memory, current_subtasks = (
            source.memory_at(frame)
            if from_policy
            else self._memory_context(source, frame, begin, end, has_history, rng)
        )
        return self.prompter.sample(
            instruction,
            state,
            source.subtasks(frame, min(frame + self.chunk, end - 1)) or None,
            memory=memory,
            current_subtasks=current_subtasks,
            has_history=has_history,
        )

    def _memory_context(
        self, source: _Source, frame: int, begin: int, end: int, has_history: bool, rng: np.random.Generator
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The finished subtasks and the window said last, as a policy's state would have them at this frame."""
        config, prompter = self.prompter.memory, self.prompter
        if config is None or source.dataset.subtasks is None:
            return (), ()
        if prompter.memory_up_to_date:
            before = source.subtasks(*self._previous_span(frame, begin)) if has_history else []
            return prune_memory(before[:-1], config, str, prompter.length), before[-1:]
        spoke = frame - int(
            rng.integers(self.memory_augmentation.staleness[0], self.memory_augmentation.staleness[1] + 1)
        )
        if spoke < begin or rng.random() < self.memory_augmentation.memory_dropout:
            return (), ()
        over = self.memory_augmentation.corrupt(source.subtasks(begin, spoke)[:-1], rng)
        current_subtasks = source.subtasks(spoke, min(spoke + self.chunk, end - 1))
        return prune_memory(
            over, config, str, prompter.length
        ), [] if rng.random() < self.memory_augmentation.previous_subtask_dropout else current_subtasks

    def _previous_span(self, frame: int, begin: int) -> tuple[int, int]:
        """First and last frame whose subtasks a prompt tells as those before `frame`, as the published system does:
        all since the beginning where it shows the first frame, those since the image of the past where not."""
        if any(name.startswith(FIRST) for name in self.images):
            return begin, frame - 1
        return frame - self.prompter.history, frame


@dataclass
class _Source:
    """A dataset with what every draw needs of it, computed once.

    state: normalised. start, end: of each frame's episode. drawn: the frames that windows may begin at. phrasings: of
    each task that has several. actions: None when none are learned from it. recalled: what a policy remembered on it.
    """

    dataset: LeRobotDataset
    frames: dict[str, np.ndarray | RandomAccessFrames]
    state: np.ndarray
    actions: np.ndarray | None
    start: np.ndarray
    end: np.ndarray
    valid_starts: np.ndarray
    paraphrases: dict[str, tuple[str, ...]]
    memory_replay: MemoryReplay | None

    @classmethod
    def of(
        cls,
        dataset: LeRobotDataset,
        config: DatasetConfig,
        cameras: Sequence[str],
        state: MinMaxNormalizer,
        action: MinMaxNormalizer,
        lookahead: int,
        chunk: int,
    ) -> _Source:
        """after: how many frames of the episode must follow a drawn one. Where recorded actions were not executed, as
        in corrections, only those frames are drawn whose whole chunk was: the rest is no motion that anybody made."""
        tasks = [dataset.instructions[index] for index in np.unique(dataset.task_index)]
        paraphrases = {} if config.instructions is None else read_paraphrases(Path(config.instructions), tasks)
        lengths = [len(episode) for episode in dataset.episodes]
        start = np.repeat([episode.start for episode in dataset.episodes], lengths)
        end = np.repeat([episode.end for episode in dataset.episodes], lengths)
        valid_starts = np.flatnonzero(np.arange(len(dataset)) + lookahead < end)
        if not valid_starts.size:
            raise ValueError(
                f"{dataset.root}: no episode is longer than {lookahead} frames, so no chunk has a frame after it"
            )
        missed = np.concatenate([[0], np.cumsum(~action_executed(dataset))])
        valid_starts = valid_starts[missed[np.minimum(valid_starts + chunk, end[valid_starts])] == missed[valid_starts]]
        if not valid_starts.size:
            raise ValueError(f"{dataset.root}: nowhere were {chunk} recorded actions executed one after the other")
        absent = [camera for camera in cameras if camera not in dataset.cameras]
        if config.actions and absent:
            raise ValueError(f"{dataset.root}: no camera {absent[0]!r}; the dataset has {list(dataset.cameras)}")
        frames = {
            camera: dataset.frames(camera) if config.cache_frames else dataset.random_access_frames(camera)
            for camera in cameras
            if camera not in absent
        }
        other_robot = not config.actions and dataset.state.shape[1] != state.dim
        values = np.zeros((len(dataset), state.dim), np.float32) if other_robot else state.normalize(dataset.state)
        actions = dataset.actions if config.actions else None
        if config.pseudo_actions is not None:
            actions = load_pseudo_actions(Path(config.pseudo_actions), len(dataset), action.dim)
        memory_replay = (
            None if config.memory_replay is None else MemoryReplay.load(Path(config.memory_replay), np.unique(start))
        )
        return cls(dataset, frames, values, actions, start, end, valid_starts, paraphrases, memory_replay)

    def sample_frames(
        self, count: int, policy_memory_fraction: float, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frames in order, for neighbouring reads, and at which of them what a policy remembered is told."""
        frames = np.sort(self.valid_starts[rng.integers(len(self.valid_starts), size=count)])
        if self.memory_replay is None:
            return frames, np.zeros(count, bool)
        chosen = rng.random(count) < policy_memory_fraction
        frames[chosen] = self.memory_replay.frames[self.memory_replay.at_or_before(frames[chosen])]
        return frames, chosen

    def memory_at(self, frame: int) -> tuple[Sequence[str], Sequence[str]]:
        """What a policy had in memory at the frame and had said last."""
        assert self.memory_replay is not None
        place = int(self.memory_replay.at_or_before(np.array([frame]))[0])
        return self.memory_replay.memories[place], self.memory_replay.subtasks[place]

    def instruction(self, frame: int, rng: np.random.Generator) -> str:
        """The frame's task, in one of its phrasings."""
        task = self.dataset.instructions[self.dataset.task_index[frame]]
        texts = self.paraphrases.get(task)
        # Without a file nothing is drawn, so that runs from before there were any go on bit for bit.
        return task if texts is None else texts[rng.integers(len(texts))]

    def subtasks(self, first: int, last: int) -> list[str]:
        """The subtasks of the frames first .. last."""
        if self.dataset.subtasks is None:
            return []
        chain = subtask_window(self.dataset.subtasks, first, last)
        return [self.dataset.subtask_texts[index] for index in chain]


def action_executed(dataset: LeRobotDataset) -> np.ndarray:
    """Whether the action of each frame was executed."""
    return np.concatenate(
        [np.ones(len(e), bool) if e.action_executed is None else np.array(e.action_executed) for e in dataset.episodes]
    )


@dataclass
class _Part:
    """The samples of a batch that come from one dataset."""

    rows: list[tuple[list[int], list[int]]]
    images: dict[str, torch.Tensor]
    subgoal: torch.Tensor | None
    state: torch.Tensor
    actions: torch.Tensor
    action_mask: torch.Tensor
    subgoal_mask: torch.Tensor
    ids: list[str]
