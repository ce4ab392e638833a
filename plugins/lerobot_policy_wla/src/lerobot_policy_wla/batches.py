"""LeRobot's batches as wla's observations and training batches. Nothing is computed here but units and layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from torch import Tensor

from wla.batch import Batch, left_pad
from wla.data import DatasetPrompts, resize
from wla.policy import Checkpoint
from wla.types import IGNORE_INDEX, ImageKey, Observation


def camera_key(camera: str) -> str:
    """LeRobot's feature of a camera; cameras outside of `observation.images.` keep the full name in wla, too."""
    return camera if camera.startswith("observation.") else f"{OBS_IMAGES}.{camera}"


class BatchReader:
    """Reads batches for the robot of a checkpoint.

    offsets: control steps, relative to now, of the frames in training batches (`WlaConfig.observation_offsets`).
    prompts: of the dataset that is trained on; without them prompts have the task alone.
    """

    def __init__(self, checkpoint: Checkpoint, offsets: Sequence[int], prompts: DatasetPrompts | None = None) -> None:
        self._spec = checkpoint.robot.spec.observation
        self._interface = checkpoint.config.model.interface
        self._prompter, self._prompts = checkpoint.prompter, prompts
        transform = checkpoint.transform(checkpoint.robot)
        self._state_normalizer, self._action_transform = transform.state, transform.actions
        self._offsets = list(offsets)

    def observations(self, batch: Mapping[str, Any]) -> list[Observation]:
        """The observation of each environment. ValueError for a camera or a state that is missing or misshapen."""
        images = {camera: _pixels(_entry(batch, camera_key(camera)), camera) for camera in self._spec.cameras}
        state = self._state(batch.get(OBS_STATE), len(next(iter(images.values()))))
        return [
            Observation({camera: rows[row] for camera, rows in images.items()}, values)
            for row, values in enumerate(state)
        ]

    def instructions(self, batch: Mapping[str, Any], count: int) -> list[str]:
        """The instruction of each environment, '' where there is none. ValueError for another number of them."""
        task = batch.get("task") or ""
        tasks = [task] * count if isinstance(task, str) else list(task)
        if len(tasks) != count:
            raise ValueError(f"task: {len(tasks)} texts for {count} observations")
        return tasks

    def training_batch(self, batch: Mapping[str, Any], rng: np.random.Generator) -> Batch:
        """A batch with the frames of `offsets` as a training batch, on the host.

        ValueError for a frame of the past that LeRobot's loader cannot give: the first one of an episode.
        """
        interface = self._interface
        actions = _array(_entry(batch, ACTION))
        size = len(actions)
        frames = batch.get(OBS_STATE)
        now = frames[:, self._offsets.index(0)] if isinstance(frames, Tensor) and frames.ndim == 3 else frames
        state = self._state(now, size)
        proprio = self._state_normalizer.normalize(state)
        trainable = self._trainable(batch, size)
        encoded = self._action_transform.encode(actions, state)
        mask = ~_padded(batch, "action_is_pad", actions.shape[:2]) & trainable[:, None]
        past = min(self._offsets)
        prompts = self._tokens(batch, proprio, self._inside(batch, past, size), rng)
        tokens, attention_mask = left_pad([row for row, _ in prompts], self._prompter.pad)
        subgoal, subgoal_mask = None, np.zeros(size, bool)
        if interface.subgoal_size is not None:
            subgoal = self._squares(batch, interface.primary, interface.chunk, interface.subgoal_size)
            subgoal_mask = self._inside(batch, interface.chunk, size) & trainable
        return Batch(
            tokens=tokens,
            attention_mask=attention_mask,
            labels=left_pad([labels for _, labels in prompts], IGNORE_INDEX)[0],
            images={name: self._image(batch, name, side) for name, side in interface.images.items()},
            state=torch.from_numpy(proprio),
            actions=torch.from_numpy(np.nan_to_num(encoded)),
            action_mask=torch.from_numpy(mask[..., None] & np.isfinite(encoded)),
            subgoal=subgoal,
            subgoal_mask=torch.from_numpy(subgoal_mask),
        )

    def _state(self, values: Tensor | None, size: int) -> Float32[np.ndarray, "B S"]:
        """The state of each observation, in the robot's units."""
        if not self._spec.state_dim:
            return np.zeros((size, 0), np.float32)
        if values is None or values.shape != (size, self._spec.state_dim):
            raise ValueError(
                f"{OBS_STATE} {'is missing' if values is None else f'has shape {tuple(values.shape)}'}; this policy "
                f"needs ({size}, {self._spec.state_dim}): {', '.join(self._spec.state_names)}"
            )
        return _array(values)

    def _image(self, batch: Mapping[str, Any], name: str, side: int) -> UInt8[Tensor, "B S S 3"]:
        key = ImageKey.parse(name)
        if key.time == "first":
            raise ValueError(
                f"this policy reads the first image of an episode ({name}), which LeRobot's loader does not give; "
                "train it with `wla train`"
            )
        return self._squares(batch, key.camera, min(self._offsets) if key.time == "history" else 0, side)

    def _squares(self, batch: Mapping[str, Any], camera: str, offset: int, side: int) -> UInt8[Tensor, "B S S 3"]:
        frames = _entry(batch, camera_key(camera))
        if frames.ndim != 5 or frames.shape[1] != len(self._offsets):
            raise ValueError(
                f"{camera_key(camera)} has shape {tuple(frames.shape)}; training needs the frames at the control steps "
                f"{self._offsets} (batch, {len(self._offsets)}, 3, height, width)"
            )
        return resize(_pixels(frames[:, self._offsets.index(offset)], camera), side, self._interface.image_fit)

    def _inside(self, batch: Mapping[str, Any], offset: int, size: int) -> Bool[np.ndarray, " B"]:
        """True where the frame of an offset lies within the episode."""
        key = f"{camera_key(self._interface.primary)}_is_pad"
        return ~_padded(batch, key, (size, len(self._offsets)))[:, self._offsets.index(offset)]

    def _frames(self, batch: Mapping[str, Any]) -> Int64[np.ndarray, " B"] | None:
        """The batch's rows of the dataset; None where the batch or the policy knows of none."""
        if self._prompts is None or "index" not in batch:
            return None
        frames, dataset = _array(batch["index"]).astype(np.int64).reshape(-1), self._prompts.dataset
        for frame, task in zip(frames.tolist(), self.instructions(batch, len(frames)), strict=True):
            if frame >= len(dataset) or dataset.instructions[dataset.task_index[frame]] != task:
                raise ValueError(f"frame {frame} of the batch, with the task {task!r}, is not that of {dataset.root}")
        return frames

    def _trainable(self, batch: Mapping[str, Any], size: int) -> Bool[np.ndarray, " B"]:
        frames = self._frames(batch)
        return np.ones(size, bool) if frames is None or self._prompts is None else self._prompts.trainable[frames]

    def _tokens(
        self,
        batch: Mapping[str, Any],
        proprio: Float32[np.ndarray, "B S"],
        has_history: Bool[np.ndarray, " B"],
        rng: np.random.Generator,
    ) -> list[tuple[list[int], list[int]]]:
        frames = self._frames(batch)
        if frames is not None and self._prompts is not None:
            return self._prompts.sample(frames, proprio, has_history, rng)
        return [
            self._prompter.sample(task, values, None, has_history=bool(past))
            for task, values, past in zip(self.instructions(batch, len(proprio)), proprio, has_history, strict=True)
        ]


def _entry(batch: Mapping[str, Any], key: str) -> Tensor:
    if not isinstance(batch.get(key), Tensor):
        known = ", ".join(name for name, value in batch.items() if isinstance(value, Tensor))
        raise ValueError(f"{key} is missing; there are {known} (--rename_map renames observations)")
    value: Tensor = batch[key]
    return value


def _array(value: Tensor) -> np.ndarray:
    array = value.detach().cpu().numpy()
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _padded(batch: Mapping[str, Any], key: str, shape: tuple[int, ...]) -> Bool[np.ndarray, "*B"]:
    """LeRobot's mark of frames outside of the episode; without it all are inside."""
    return _array(batch[key]).reshape(shape) if key in batch else np.zeros(shape, bool)


def _pixels(images: Tensor, camera: str) -> UInt8[np.ndarray, "B H W 3"]:
    """Images (B, 3, H, W), uint8 or numbers in 0 .. 1, as wla has them."""
    if images.ndim != 4 or images.shape[-3] != 3:
        raise ValueError(f"{camera_key(camera)} has shape {tuple(images.shape)}; send (batch, 3, height, width)")
    if images.dtype != torch.uint8:
        images = (images.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(images.movedim(-3, -1).cpu().numpy())
