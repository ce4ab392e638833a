"""Supervised training of the toy language: masked tokens of each block are predicted."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from wla import runtime
from wla.models.block_text import BlockText
from wla.models.masked_decoding import Snapshots
from wla.training.learner import Learner
from wla.training.objective import BaseObjective, EpisodeValidation, StepLosses
from wla.training.sampling import numpy_rng
from wla.training.toy_language import sums
from wla.training.toy_language.checkpoint import load_language_model, save_language_model
from wla.training.toy_language.configs import ToyLanguageTrainConfig
from wla.training.toy_language.texts import validation_metrics


class TextBatch(NamedTuple):
    """Prompts and texts in one row each, and each block with a random part of it masked."""

    tokens: Int64[Tensor, "B T"]
    snapshots: Snapshots


class SupervisedTextObjective(BaseObjective):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: ToyLanguageTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        self._model = BlockText(config.language.model)

    @property
    def module(self) -> nn.Module:
        return self._model

    @property
    def validation(self) -> EpisodeValidation:
        return EpisodeValidation(self._validate)

    def sample_batch(self, samples: int, generator: torch.Generator) -> TextBatch:
        language, rng = self.config.language, numpy_rng(generator)
        decoding = language.decoding
        pairs = sums.draw_sums(samples, language.digits, "training", rng)
        prompts = torch.from_numpy(sums.prompts_of(pairs, language.digits))
        texts = sums.texts_of(pairs, language.digits, decoding.block * decoding.max_blocks, rng)
        blocks = torch.from_numpy(texts).unflatten(1, (-1, decoding.block))
        return TextBatch(torch.cat([prompts, blocks.flatten(1)], 1), mask_blocks(blocks, decoding.mask, generator))

    def compute_losses(
        self, step: int, batch: TextBatch, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        snapshots = batch.snapshots.to(device)
        log_prob = self._model.log_prob(batch.tokens.to(device), snapshots, self.config.language.decoding.mask)
        prompts = batch.tokens[:, : self.config.language.model.prompt].tolist()
        return {"loss": -log_prob.sum() / snapshots.revealed.sum()}, [sums.decode(prompt) for prompt in prompts]

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        save_language_model(folder, self.config.language, weights)

    def resume(self, folder: Path) -> bool:
        """ValueError for another language; there are no ranges."""
        if load_language_model(folder)[0] != self.config.language:
            raise ValueError(f"{folder}: has another language than the recipe; resume what it was made of")
        return False

    def _validate(self, learner: Learner) -> dict[str, float]:
        language = self.config.language
        with learner.evaluating():
            return validation_metrics(self._model, self.config.validation_texts, language.digits, language.decoding)


def mask_blocks(blocks: Int64[Tensor, "B S K"], mask: int, generator: torch.Generator) -> Snapshots:
    """Blocks with any part masked, all parts equally likely, at least one token of each; these are to be revealed."""
    part = torch.rand(*blocks.shape[:2], 1, generator=generator)
    order = torch.rand(blocks.shape, generator=generator)
    masked = (order < part) | (order == order.amin(-1, keepdim=True))
    numbers = torch.arange(blocks.shape[1]).expand(len(blocks), -1)
    return Snapshots(blocks.masked_fill(masked, mask), numbers, masked, blocks)
