"""From datasets to training batches: a weighted mixture of windows.

The samples of a batch depend only on the generator that is passed in, so a resumed run continues with the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float16, Float32, Float64, Int64, UInt8
from torch import Tensor

from wla.batch import Batch, Latents, left_pad
from wla.data.dataset_config import DatasetConfig, ImageAugmentation
from wla.data.image_augmentation import augment
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.prompt_samples import PromptSampler
from wla.data.prompts.kinds import AnyPrompter
from wla.data.robot_transform import RobotTransform
from wla.data.window_source import WindowSource
from wla.types import IGNORE_INDEX, ImageFit, ImageKey


@dataclass
class WindowSampler:
    """Samples batches of windows.

    robots: of each dataset, see `WindowSource.prepare`. images: string form of a `wla.types.ImageKey` -> side in pixels
    at which the backbone sees the image. primary: the camera whose frame after the chunk is the subgoal, a square of
    `subgoal_size` pixels. image_augmentation: random crops and colours (None: none). image_dropout: fraction of the
    samples without images and state, from which only text is learned. with_subgoal: sample only windows whose episode
    continues after the chunk. subgoal_offsets: frames between the current frame and the subgoal, one of them drawn per
    sample; () for the chunk's length. clip_subgoals: subgoals beyond an episode are its last frame. latents: of the
    primary camera's frames, an array for each dataset (None: no batch has any). held_out: of datasets that hold
    episodes out, sample these instead of the others. image_fit: how images become squares.

    ValueError when a dataset has no such window, or a task lacks paraphrases in a file of them.
    """

    datasets: Sequence[LeRobotDataset]
    configs: Sequence[DatasetConfig]
    robots: Sequence[RobotTransform]
    prompts: PromptSampler
    images: dict[str, int]
    primary: str
    subgoal_size: int | None
    chunk: int
    image_augmentation: ImageAugmentation | None = None
    image_dropout: float = 0.0
    with_subgoal: bool = False
    subgoal_offsets: tuple[int, ...] = ()
    clip_subgoals: bool = False
    latents: Sequence[Float16[np.ndarray, "_ C h w"]] | None = None
    held_out: bool = False
    image_fit: ImageFit = "pad"
    _keys: dict[ImageKey, int] = field(init=False)
    _sources: list[WindowSource] = field(init=False)

    def __post_init__(self) -> None:
        self._keys = {ImageKey.parse(name): side for name, side in self.images.items()}
        self._sources = [
            WindowSource.prepare(
                dataset,
                config,
                self._sides(),
                self.image_fit,
                self.primary,
                robot,
                lookahead=self.chunk if self.with_subgoal else 0,
                chunk=self.chunk,
                held_out=self.held_out,
            )
            for dataset, config, robot in zip(self.datasets, self.configs, self.robots, strict=True)
        ]
        for source, kept in zip(self._sources, self.latents or (), strict=self.latents is not None):
            source.latents = kept
        self._probabilities = _mixture_probabilities(self.datasets, self.configs)

    @property
    def prompter(self) -> AnyPrompter:
        return self.prompts.prompter

    def _sides(self) -> dict[str, list[int]]:
        """The sides of the squares that are read of each camera, the primary one first."""
        sides: dict[str, list[int]] = {self.primary: [] if self.subgoal_size is None else [self.subgoal_size]}
        for key, side in self._keys.items():
            sides.setdefault(key.camera, []).append(side)
        return sides

    def sample_batch(self, size: int, rng: np.random.Generator) -> Batch:
        """A batch of `size` windows, datasets by weight and frames uniformly within them."""
        counts = rng.multinomial(size, self._probabilities)
        fraction = self.prompts.memory_augmentation.policy_memory_fraction
        batch = _collate(
            [
                self._samples(source, *source.sample_frames(int(count), fraction, rng), rng)
                for source, count in zip(self._sources, counts, strict=True)
                if count
            ],
            self.prompter.pad,
        )
        # Drawn last, so that the same batch without augmentation has the same samples.
        if self.image_augmentation is None:
            return batch
        return augment(batch, self.image_augmentation, self.primary, rng)

    def num_targets(self) -> dict[str, list[int]]:
        """Returns the number of windows of each dataset that have actions, a subgoal and a text, and of all."""
        offsets = self.subgoal_offsets or (self.chunk,)
        found: dict[str, list[int]] = {"actions": [], "subgoal": [], "text": [], "windows": []}
        for source in self._sources:
            starts = source.valid_starts
            subgoals = np.full(len(starts), self.clip_subgoals and self.subgoal_size is not None)
            for offset in offsets if self.subgoal_size is not None else ():
                subgoals |= (source.dataset.run_start[starts] <= starts + offset) & (
                    starts + offset < source.end[starts]
                )
            known = source.actions is not None and np.isfinite(source.actions[starts]).any(1)
            found["actions"].append(int(np.sum(known)))
            found["subgoal"].append(int(subgoals.sum()))
            found["text"].append(source.num_labelled(self.chunk) if self.prompter.predicts_subtasks else 0)
            found["windows"].append(len(starts))
        return found

    def _samples(
        self,
        source: WindowSource,
        frames: Int64[np.ndarray, " B"],
        replayed: Bool[np.ndarray, " B"],
        rng: np.random.Generator,
    ) -> _Samples:
        """The windows of one dataset that start at `frames`. replayed: those with the memory of a policy."""
        subgoal_offset: np.ndarray | int | None = self.subgoal_offsets[0] if self.subgoal_offsets else None
        if len(self.subgoal_offsets) > 1:
            subgoal_offset = rng.choice(self.subgoal_offsets, size=len(frames))
        robot = source.robot
        assert robot is not None, "windows have a robot"
        windows = source.windows(frames, self.chunk, self.prompter.history, subgoal_offset)
        actions, mask = self._actions(source, frames, windows.chunk, windows.chunk_mask)
        state, seen = source.state[frames], np.ones(len(frames), bool)
        if self.image_dropout:  # nothing is drawn without it, so that runs without it stay the same bit for bit
            seen = rng.random(len(frames)) >= self.image_dropout
            state, mask = state * seen[:, None], mask & seen[:, None, None]
        views = {
            str(key): source.images(key.camera, source.frames_at(key, frames, self.prompter.history), side)
            for key, side in self._keys.items()
        }
        for view in views.values():
            view[torch.from_numpy(~seen)] = 0
        return _Samples(
            prompts=[
                self.prompts.sample(
                    source, int(frame), values, rng, has_history=bool(has_history), replayed=bool(from_policy)
                )
                for frame, values, has_history, from_policy in zip(
                    frames, state, windows.history_mask, replayed, strict=True
                )
            ],
            images=views,
            subgoal=None
            if self.subgoal_size is None
            else source.images(self.primary, windows.subgoal, self.subgoal_size),
            state=torch.from_numpy(robot.pad_state(state)),
            actions=torch.from_numpy(actions),
            action_mask=torch.from_numpy(mask),
            action_dim=robot.actions.own_dim,
            latents=None if source.latents is None else source.latents_of(frames, windows.subgoal),
            subgoal_mask=torch.from_numpy((windows.subgoal_mask | self.clip_subgoals) & seen),
            ids=[source.dataset.frame_id(int(frame)) for frame in frames],
        )

    def _actions(
        self,
        source: WindowSource,
        frames: Int64[np.ndarray, " B"],
        chunk: Int64[np.ndarray, "B n"],
        chunk_mask: Bool[np.ndarray, "B n"],
    ) -> tuple[Float32[np.ndarray, "B n A"], Bool[np.ndarray, "B n A"]]:
        """The model's actions of windows from `frames` on, 0 where they are unknown, and True where they are known,
        the robot's own and inside the episode."""
        assert source.robot is not None
        transform = source.robot.actions
        mask = np.broadcast_to(chunk_mask[..., None], (*chunk.shape, transform.dim)).copy()
        mask[..., transform.own_dim :] = False
        if source.actions is None:
            return np.zeros(mask.shape, np.float32), np.zeros_like(mask)
        actions = transform.encode(source.actions[chunk], source.dataset.state[frames])
        return np.nan_to_num(actions), mask & np.isfinite(actions)


def _mixture_probabilities(
    datasets: Sequence[LeRobotDataset], configs: Sequence[DatasetConfig]
) -> Float64[np.ndarray, " D"]:
    """Probability of each dataset, by weight or by number of frames. ValueError when only some have a weight."""
    weighted = [config.weight is not None for config in configs]
    if any(weighted) and not all(weighted):
        raise ValueError(f"{configs[weighted.index(False)].path}: no weight, other datasets have one; give all or none")
    weights = [
        float(len(dataset)) if config.weight is None else config.weight
        for dataset, config in zip(datasets, configs, strict=True)
    ]
    return np.array(weights) / sum(weights)


@dataclass
class _Samples:
    """The samples of a batch that come from one dataset. prompts: tokens and labels of each. action_dim: of its robot,
    as the model represents its actions."""

    prompts: list[tuple[list[int], list[int]]]
    images: dict[str, UInt8[Tensor, "B _ _ 3"]]
    subgoal: UInt8[Tensor, "B _ _ 3"] | None
    state: Float32[Tensor, "B S"]
    actions: Float32[Tensor, "B n A"]
    action_mask: Bool[Tensor, "B n A"]
    action_dim: int
    latents: Latents | None
    subgoal_mask: Bool[Tensor, " B"]
    ids: list[str]


def _collate(parts: Sequence[_Samples], pad: int) -> Batch:
    """One batch of the samples of all datasets. pad: token that fills the left of shorter prompts."""
    prompts = [prompt for part in parts for prompt in part.prompts]
    tokens, mask = left_pad([tokens for tokens, _ in prompts], pad)
    labels, _ = left_pad([labels for _, labels in prompts], IGNORE_INDEX)
    padded = any(part.action_dim < part.actions.shape[-1] for part in parts)
    dims = torch.cat([torch.full((len(part.ids),), part.action_dim) for part in parts])
    subgoals = [part.subgoal for part in parts if part.subgoal is not None]
    latents = [part.latents for part in parts if part.latents is not None]
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
        action_dims=dims if padded else None,
        latents=Latents(torch.cat([kept.current for kept in latents]), torch.cat([kept.subgoal for kept in latents]))
        if latents
        else None,
        ids=[name for part in parts for name in part.ids],
    )
