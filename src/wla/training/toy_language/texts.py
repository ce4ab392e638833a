"""Texts of a toy language model after prompts of a split, and how good and how fast they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from wla.models.block_text import BlockText
from wla.models.masked_decoding import MaskedText, decode_masked
from wla.models.masked_decoding_config import MaskedDecodingConfig
from wla.runtime import upload
from wla.training.toy_language import sums


@dataclass(frozen=True)
class Texts:
    """prompts: their tokens. text: what was decoded after each. success: whether it is right."""

    prompts: Int64[Tensor, "B T"]
    text: MaskedText
    success: Bool[np.ndarray, " B"]

    @property
    def metrics(self) -> dict[str, float]:
        """Success, mean tokens per forward pass of a text, and mean forward passes."""
        return {
            "success": float(self.success.mean()),
            "tokens_per_pass": float(self.text.tokens_per_pass.mean()),
            "passes": float(self.text.forwards.double().mean()),
        }


def write(
    model: BlockText,
    pairs: Int64[np.ndarray, "B 2"],
    digits: int,
    decoding: MaskedDecodingConfig,
    generator: torch.Generator | None = None,
) -> Texts:
    """A text after each prompt. generator: of the draws; None for the most likely tokens."""
    device = next(model.parameters()).device
    prompts = upload(torch.from_numpy(sums.prompts_of(pairs, digits)), device)
    text = decode_masked(model.reader(), prompts, decoding, generator)
    lengths = text.lengths.tolist()
    success = [
        sums.right(pair, digits, tokens[:length])
        for pair, tokens, length in zip(pairs.tolist(), text.tokens.tolist(), lengths, strict=True)
    ]
    return Texts(prompts, text, np.array(success))


def validation_metrics(model: BlockText, count: int, digits: int, decoding: MaskedDecodingConfig) -> dict[str, float]:
    """Metrics of the most likely texts after the same prompts of the validation split each time; the reward is their
    success."""
    pairs = sums.draw_sums(count, digits, "validation", np.random.default_rng(0))
    metrics = write(model, pairs, digits, decoding).metrics
    return {"reward": metrics["success"], **metrics}
