"""Checkpoints of value models: a folder with weights, configuration and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate import init_empty_weights
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.batch import left_pad
from wla.config import Config
from wla.data import PromptConfig, resize
from wla.data.prompts.nano import Prompter
from wla.data.prompts.tokenizer import load_tokenizer, save_tokenizer
from wla.files import atomic_dir
from wla.models import ValueConfig, ValueModel
from wla.policy.hub import load_from
from wla.types import FrameContext, ImageKey, Precision
from wla.weights import COPY_WHOLE_FOLDER, load_weights, save_weights

CONFIG, WEIGHTS, TOKENIZER = "value.json", "value.safetensors", "tokenizer.json"


class ValueCheckpointConfig(Config):
    """Contents of value.json."""

    model: ValueConfig
    prompt: PromptConfig


@dataclass(frozen=True)
class ValueCheckpoint:
    """A value model with its configuration and tokenizer."""

    config: ValueCheckpointConfig
    model: ValueModel
    tokenizer: PreTrainedTokenizerFast

    @property
    def camera(self) -> str:
        """The camera whose images it scores."""
        return ImageKey.parse(self.image).camera

    @property
    def image(self) -> str:
        """The image that its model reads: the string form of a `wla.types.ImageKey`."""
        return self.model.backbone.primary

    @cached_property
    def prompter(self) -> Prompter:
        """ValueError when the tokenizer does not fit the prompt."""
        return Prompter(self.config.prompt, self.tokenizer, self.model.backbone.image_tokens)

    @torch.inference_mode()
    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """Values (B,) of frames, between 0 (will fail) and 1 (is done).

        Args:
            frame_contexts: instruction, subtask and times, one per image.
            images: uint8 pixels (B, H, W, 3) of `camera`, of any size.
        """
        side = self.config.model.backbone.cameras[self.image]
        device = next(self.model.parameters()).device
        tokens, mask, times = (part.to(device) for part in self.model_inputs(frame_contexts))
        logits = self.model(tokens, mask, {self.image: resize(images, side).to(device)}, times)
        return logits.sigmoid().cpu().numpy()

    def model_inputs(
        self, frame_contexts: Sequence[FrameContext]
    ) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"], Int64[Tensor, "B 2"]]:
        """Prompts (B, T), padded on the left, their mask, and times (B, 2).

        A prompt holds instruction, image and subtask, but neither state nor memory: an imagined frame has none.
        """
        prompter = self.prompter
        no_state = np.zeros(0, np.float32)
        rows = [
            prompter.prompt(
                context.instruction, no_state, current_subtasks=[context.subtask] if context.subtask else []
            )
            for context in frame_contexts
        ]
        return *left_pad(rows, prompter.pad), torch.tensor(
            [(context.episode_step, context.subtask_step) for context in frame_contexts]
        )

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Write the folder atomically, with `weights` instead of the model's own if given."""
        with atomic_dir(folder, replaces=(CONFIG, WEIGHTS, TOKENIZER)) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict() if weights is None else weights, fresh / WEIGHTS)
            save_tokenizer(self.tokenizer, fresh / TOKENIZER)


def load_value(
    name: str | Path, *, camera: str | None = None, fast: bool = False, precision: Precision = "float32"
) -> ValueCheckpoint:
    """A value model from a bundled name ('nano-value'), a folder, or a hub id.

    fast: whether compiled functions score, with the same scores up to rounding (see `wla.policy.fast`). precision: of
    their matrix products. ValueError for a folder without a value model, or when it was trained on images of a camera
    other than `camera`.
    """
    value = load_from(name, _read, "value model")
    if camera is not None and camera != value.camera:
        raise ValueError(
            f"value model {name} was trained for images of camera {value.camera!r}, and these are of {camera!r}; "
            "train one on rollouts of this robot (`wla train nano_value`)"
        )
    if fast:
        from wla.policy.fast_value import fast_value

        value = fast_value(value, precision=precision)
    return value


def _read(folder: Path) -> ValueCheckpoint:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no value model here ({CONFIG} is missing); train one with `wla train nano_value`")
    config = ValueCheckpointConfig.load(folder / CONFIG)
    with init_empty_weights():
        model = ValueModel(config.model)
    load_weights(model, folder / WEIGHTS)
    value = ValueCheckpoint(config, model.eval(), load_tokenizer(folder / TOKENIZER))
    try:
        value.prompter.require_image_token(config.model.backbone.image_token)
    except ValueError as error:
        raise ValueError(f"{folder / TOKENIZER}: does not fit {CONFIG}: {error}; {COPY_WHOLE_FOLDER}") from error
    return value
