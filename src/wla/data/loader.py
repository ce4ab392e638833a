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
from wla.data.memory import MemoryErrors, kept
from wla.data.memory_replay import Recalled
from wla.data.normalize import MinMaxNormalizer
from wla.data.paraphrases import read_phrasings
from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.nano import Prompter, left_pad
from wla.data.pseudo_actions import load_inferred
from wla.data.transforms import resize
from wla.data.video.random_access import SeekingFrames
from wla.data.windows import Window, subtask_window, window
from wla.specs import RobotSpec
from wla.types import FIRST, HISTORY, IGNORE, Batch, camera_of


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
    inferred: str | None = None
    """File of `wla data infer-actions`: actions to learn in place of the dataset's own, which it need not have; those
    that are not known (nan) are not learned."""
    recalled: str | None = None
    """File of `wla recall`: what a policy remembered while it acted on this dataset."""
    decode_ahead: bool = True
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
        return [self.model_copy(update={"path": str(path), "weight": weight}) for path in found]

    def open(self) -> LeRobotDataset:
        """ValueError when the dataset cannot be read or is of another robot."""
        return LeRobotDataset(self.path, columns=self.columns, robot=self.robot)


@dataclass
class WindowBatches:
    """Draws batches of windows.

    images: image -> side that the backbone sees (`wla.types.HISTORY` and `FIRST` name those of other times). primary:
    the camera whose frame after the chunk is imagined, as a square of `target` pixels. errors: how far what a prompt
    tells of the past is off. empty_instructions: share of the samples whose instruction is emptied, for classifier-free
    guidance. blind: share of the samples that see neither images nor the state, and learn nothing but what to say.
    with_subgoal: draw only windows whose episode goes on after the chunk. targets: how many frames from now
    the imagined frame is, one of them drawn for each sample; none for the chunk's length. ValueError when a dataset has
    no such window, or a file no phrasing of a task.
    """

    datasets: Sequence[LeRobotDataset]
    configs: Sequence[DatasetConfig]
    prompter: Prompter | ChatPrompter
    state: MinMaxNormalizer
    action: MinMaxNormalizer
    action_dim: int
    images: dict[str, int]
    primary: str
    target: int
    chunk: int
    errors: MemoryErrors
    empty_instructions: float = 0.0
    blind: float = 0.0
    with_subgoal: bool = False
    targets: tuple[int, ...] = ()
    _sources: list[_Source] = field(init=False)

    def __post_init__(self) -> None:
        after = self.chunk if self.with_subgoal else 0
        cameras = list(dict.fromkeys(map(camera_of, self.images)))
        self._sources = [
            _Source.of(dataset, config, cameras, self.state, self.action, after, self.chunk)
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
        self._shares = np.array(shares) / sum(shares)

    def draw(self, size: int, rng: np.random.Generator, *, images: bool = True) -> Batch:
        """A batch of `size` windows, datasets by weight and frames uniformly within them.

        Without images, which cost the most, it is the same but for them and the subgoals.
        """
        counts = rng.multinomial(size, self._shares)
        parts = [
            self._part(source, *source.draw(int(count), self.errors.own, rng), rng, images=images)
            for source, count in zip(self._sources, counts, strict=True)
            if count
        ]
        rows = [row for part in parts for row in part.rows]
        tokens, mask = left_pad([row[0] for row in rows], self.prompter.pad)
        labels, _ = left_pad([row[1] for row in rows], IGNORE)
        return Batch(
            tokens=tokens,
            attention_mask=mask,
            labels=labels,
            images={name: torch.cat([part.images[name] for part in parts]) for name in parts[0].images},
            state=torch.cat([part.state for part in parts]),
            actions=torch.cat([part.actions for part in parts]),
            action_mask=torch.cat([part.action_mask for part in parts]),
            subgoal=torch.cat([part.subgoal for part in parts if part.subgoal is not None]) if images else None,
            subgoal_mask=torch.cat([part.subgoal_mask for part in parts]),
            ids=[name for part in parts for name in part.ids],
        )

    def _part(
        self, source: _Source, frames: np.ndarray, own: np.ndarray, rng: np.random.Generator, *, images: bool
    ) -> _Part:
        """own: which frames tell what a policy remembered there."""
        target: np.ndarray | int | None = self.targets[0] if self.targets else None
        if len(self.targets) > 1:
            target = rng.choice(self.targets, size=len(frames))
        places = window(frames, source.start[frames], source.end[frames], self.chunk, self.prompter.history, target)
        mask = np.broadcast_to(places.chunk_mask[..., None], (*places.chunk.shape, self.action_dim)).copy()
        if source.actions is None:
            actions = np.zeros(mask.shape, np.float32)
            mask[:] = False
        else:
            actions = self.action.normalize(source.actions[places.chunk])
            mask &= np.isfinite(actions)
            actions = np.nan_to_num(actions)
        state, sees = source.state[frames], np.ones(len(frames), bool)
        if self.blind:  # else nothing is drawn, so that runs without it go on bit for bit
            sees = rng.random(len(frames)) >= self.blind
            state, mask = state * sees[:, None], mask & sees[:, None, None]
        looks = self._look(source, frames, places) if images else {}
        for look in looks.values():
            look[torch.from_numpy(~sees)] = 0
        return _Part(
            rows=[
                self._row(source, int(frame), values, bool(past), bool(recalled), rng)
                for frame, values, past, recalled in zip(frames, state, places.history_mask, own, strict=True)
            ],
            images=looks,
            subgoal=resize(source.frames[self.primary][places.subgoal], self.target) if images else None,
            state=torch.from_numpy(state),
            actions=torch.from_numpy(actions),
            action_mask=torch.from_numpy(mask),
            subgoal_mask=torch.from_numpy(places.subgoal_mask & sees),
            ids=[source.dataset.frame_id(int(frame)) for frame in frames],
        )

    def _look(self, source: _Source, frames: np.ndarray, places: Window) -> dict[str, torch.Tensor]:
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
        self, source: _Source, frame: int, state: np.ndarray, past: bool, own: bool, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """state: normalised, as this sample sees it."""
        emptied = rng.random() < self.empty_instructions
        instruction = "" if emptied else source.instruction(frame, rng)
        begin, end = int(source.start[frame]), int(source.end[frame])
        memory, running = source.recall(frame) if own else self._told(source, frame, begin, end, past, rng)
        return self.prompter.sample(
            instruction,
            state,
            source.subtasks(frame, min(frame + self.chunk, end - 1)) or None,
            memory=memory,
            running=running,
            past=past,
        )

    def _told(
        self, source: _Source, frame: int, begin: int, end: int, past: bool, rng: np.random.Generator
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The finished subtasks and the window said last, as a policy's state would have them at this frame."""
        config, prompter = self.prompter.memory, self.prompter
        if config is None or source.dataset.subtasks is None:
            return (), ()
        if prompter.tells_until_now:
            before = source.subtasks(*self._before(frame, begin)) if past else []
            return kept(before[:-1], config, str, prompter.length), before[-1:]
        spoke = frame - int(rng.integers(self.errors.lag[0], self.errors.lag[1] + 1))
        if spoke < begin or rng.random() < self.errors.forgotten:
            return (), ()
        over = self.errors.spoil(source.subtasks(begin, spoke)[:-1], rng)
        running = source.subtasks(spoke, min(spoke + self.chunk, end - 1))
        return kept(over, config, str, prompter.length), [] if rng.random() < self.errors.windowless else running

    def _before(self, frame: int, begin: int) -> tuple[int, int]:
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
    frames: dict[str, np.ndarray | SeekingFrames]
    state: np.ndarray
    actions: np.ndarray | None
    start: np.ndarray
    end: np.ndarray
    drawn: np.ndarray
    phrasings: dict[str, tuple[str, ...]]
    recalled: Recalled | None

    @classmethod
    def of(
        cls,
        dataset: LeRobotDataset,
        config: DatasetConfig,
        cameras: Sequence[str],
        state: MinMaxNormalizer,
        action: MinMaxNormalizer,
        after: int,
        chunk: int,
    ) -> _Source:
        """after: how many frames of the episode must follow a drawn one. Where recorded actions were not executed, as
        in corrections, only those frames are drawn whose whole chunk was: the rest is no motion that anybody made."""
        tasks = [dataset.instructions[index] for index in np.unique(dataset.task_index)]
        phrasings = {} if config.instructions is None else read_phrasings(Path(config.instructions), tasks)
        lengths = [len(episode) for episode in dataset.episodes]
        start = np.repeat([episode.start for episode in dataset.episodes], lengths)
        end = np.repeat([episode.end for episode in dataset.episodes], lengths)
        drawn = np.flatnonzero(np.arange(len(dataset)) + after < end)
        if not drawn.size:
            raise ValueError(
                f"{dataset.root}: no episode is longer than {after} frames, so no chunk has a frame after it"
            )
        missed = np.concatenate([[0], np.cumsum(~followed(dataset))])
        drawn = drawn[missed[np.minimum(drawn + chunk, end[drawn])] == missed[drawn]]
        if not drawn.size:
            raise ValueError(f"{dataset.root}: nowhere were {chunk} recorded actions executed one after the other")
        absent = [camera for camera in cameras if camera not in dataset.cameras]
        if config.actions and absent:
            raise ValueError(f"{dataset.root}: no camera {absent[0]!r}; the dataset has {list(dataset.cameras)}")
        frames = {
            camera: dataset.frames(camera) if config.decode_ahead else dataset.seek(camera)
            for camera in cameras
            if camera not in absent
        }
        other_robot = not config.actions and dataset.state.shape[1] != state.dim
        values = np.zeros((len(dataset), state.dim), np.float32) if other_robot else state.normalize(dataset.state)
        actions = dataset.actions if config.actions else None
        if config.inferred is not None:
            actions = load_inferred(Path(config.inferred), len(dataset), action.dim)
        recalled = None if config.recalled is None else Recalled.load(Path(config.recalled), np.unique(start))
        return cls(dataset, frames, values, actions, start, end, drawn, phrasings, recalled)

    def draw(self, count: int, own: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Frames in order, for neighbouring reads, and at which of them what a policy remembered is told."""
        frames = np.sort(self.drawn[rng.integers(len(self.drawn), size=count)])
        if self.recalled is None:
            return frames, np.zeros(count, bool)
        chosen = rng.random(count) < own
        frames[chosen] = self.recalled.frames[self.recalled.at_or_before(frames[chosen])]
        return frames, chosen

    def recall(self, frame: int) -> tuple[Sequence[str], Sequence[str]]:
        """What a policy had in memory at the frame and had said last."""
        assert self.recalled is not None
        place = int(self.recalled.at_or_before(np.array([frame]))[0])
        return self.recalled.memories[place], self.recalled.windows[place]

    def instruction(self, frame: int, rng: np.random.Generator) -> str:
        """The frame's task, in one of its phrasings."""
        task = self.dataset.instructions[self.dataset.task_index[frame]]
        texts = self.phrasings.get(task)
        # Without a file nothing is drawn, so that runs from before there were any go on bit for bit.
        return task if texts is None else texts[rng.integers(len(texts))]

    def subtasks(self, first: int, last: int) -> list[str]:
        """The subtasks of the frames first .. last."""
        if self.dataset.subtasks is None:
            return []
        chain = subtask_window(self.dataset.subtasks, first, last)
        return [self.dataset.subtask_texts[index] for index in chain]


def followed(dataset: LeRobotDataset) -> np.ndarray:
    """Whether the action of each frame was executed."""
    return np.concatenate(
        [np.ones(len(e), bool) if e.followed is None else np.array(e.followed) for e in dataset.episodes]
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
