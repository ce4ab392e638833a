"""A trained value model in a folder: its weights, configuration and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.batch import left_pad
from wla.config import Config
from wla.data.prompts.nano import PromptConfig, Prompter
from wla.data.prompts.tokenizer import load_tokenizer, save_tokenizer
from wla.data.transforms import resize
from wla.files import atomic_dir
from wla.models.value_model import ValueConfig, ValueModel
from wla.policy.hub import resolve
from wla.types import FrameContext
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS, TOKENIZER = "value.json", "value.safetensors", "tokenizer.json"


class ValueCheckpointConfig(Config):
    """What value.json holds."""

    model: ValueConfig
    prompt: PromptConfig


@dataclass(frozen=True)
class ValueCheckpoint:
    """A value model with its words."""

    config: ValueCheckpointConfig
    model: ValueModel
    tokenizer: PreTrainedTokenizerFast

    @property
    def camera(self) -> str:
        return self.model.backbone.primary

    @torch.inference_mode()
    def score(
        self, frame_contexts: Sequence[FrameContext], images: UInt8[np.ndarray, "B H W 3"]
    ) -> Float32[np.ndarray, " B"]:
        """Between 0 (will fail) and 1 (is done)."""
        side = self.config.model.backbone.cameras[self.camera]
        device = next(self.model.parameters()).device
        tokens, mask, times = (part.to(device) for part in self.model_inputs(frame_contexts))
        logits = self.model(tokens, mask, {self.camera: resize(images, side).to(device)}, times)
        return logits.sigmoid().cpu().numpy()

    def model_inputs(
        self, frame_contexts: Sequence[FrameContext]
    ) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"], Int64[Tensor, "B 2"]]:
        """Prompts, where they hold something, and times.

        A prompt holds instruction, image and what is being done: no state and no memory, which an imagined frame could
        not tell.
        """
        prompter = Prompter(self.config.prompt, self.tokenizer, self.model.backbone.image_tokens)
        nothing = np.zeros(0, np.float32)
        rows = [
            prompter.prompt(moment.instruction, nothing, current_subtasks=[moment.subtask] if moment.subtask else [])
            for moment in frame_contexts
        ]
        return *left_pad(rows, prompter.pad), torch.tensor(
            [(moment.episode_step, moment.subtask_step) for moment in frame_contexts]
        )

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        with atomic_dir(folder) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict() if weights is None else weights, fresh / WEIGHTS)
            save_tokenizer(self.tokenizer, fresh / TOKENIZER)


def load_value(name: str | Path, *, camera: str | None = None) -> ValueCheckpoint:
    """A value model from a bundled name ('nano-value'), a folder, or a hub id.

    camera: the one whose images it is to score. ValueError when that is not the one that it was trained for, and for
    a folder without a value model.
    """
    folder = resolve(name, "value model")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no value model here ({CONFIG} is missing); train one with `wla train nano_value`")
    config = ValueCheckpointConfig.load(folder / CONFIG)
    model = ValueModel(config.model)
    load_weights(model, folder / WEIGHTS)
    value = ValueCheckpoint(config, model.eval(), load_tokenizer(folder / TOKENIZER))
    if camera is not None and camera != value.camera:
        raise ValueError(
            f"value model {name} was trained for images of camera {value.camera!r}, and these are of {camera!r}; "
            "train one on rollouts of this robot (`wla train nano_value`)"
        )
    return value
