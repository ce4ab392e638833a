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

from wla.config import Config
from wla.data.prompts import PromptConfig, Prompter, left_pad
from wla.data.tokenizer import load_tokenizer, save_tokenizer
from wla.data.transforms import resize
from wla.files import replacing
from wla.models.value import ValueConfig, ValueModel
from wla.types import Moment
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS, TOKENIZER = "value.json", "value.safetensors", "tokenizer.json"
LONGEST = 1000
"""Control steps beyond which all times are the same."""


class ValueFile(Config):
    """What value.json holds."""

    model: ValueConfig
    prompt: PromptConfig


@dataclass(frozen=True)
class Value:
    """A value model with its words."""

    config: ValueFile
    model: ValueModel
    tokenizer: PreTrainedTokenizerFast

    @property
    def camera(self) -> str:
        return self.model.backbone.primary

    @torch.inference_mode()
    def score(self, moments: Sequence[Moment], images: UInt8[np.ndarray, "B H W 3"]) -> Float32[np.ndarray, " B"]:
        """Between 0 (will fail) and 1 (is done)."""
        side = self.config.model.backbone.cameras[self.camera]
        tokens, mask = self.prompts(moments)
        device = next(self.model.parameters()).device
        logits = self.model(tokens.to(device), mask.to(device), {self.camera: resize(images, side).to(device)})
        return logits.sigmoid().cpu().numpy()

    def prompts(self, moments: Sequence[Moment]) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"]]:
        """Instruction, image, the two times where a policy's prompt has the state, and what is being done: no state and
        no memory, which an imagined frame could not tell."""
        prompter = Prompter(self.config.prompt, self.tokenizer, self.model.backbone.image_tokens)
        rows = [
            prompter.prompt(moment.instruction, _times(moment), running=[moment.doing] if moment.doing else [])
            for moment in moments
        ]
        return left_pad(rows, prompter.pad)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        with replacing(folder) as fresh:
            self.config.save(fresh / CONFIG)
            save_weights(self.model.state_dict() if weights is None else weights, fresh / WEIGHTS)
            save_tokenizer(self.tokenizer, fresh / TOKENIZER)


def _times(moment: Moment) -> Float32[np.ndarray, " 2"]:
    """-1 at the beginning, 1 after `LONGEST` steps; a step counts for less the later it is."""
    times = np.array([moment.elapsed, moment.since], np.float32)
    return 2 * np.log1p(times) / np.log1p(np.float32(LONGEST)) - 1


def load_value(folder: str | Path) -> Value:
    """ValueError when the folder holds no value model."""
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no value model here ({CONFIG} is missing); train one with recipes/nano_value.py")
    config = ValueFile.load(folder / CONFIG)
    model = ValueModel(config.model)
    load_weights(model, folder / WEIGHTS)
    return Value(config, model.eval(), load_tokenizer(folder / TOKENIZER))
