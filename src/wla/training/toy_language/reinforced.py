"""Reinforcement learning of the toy language after LightningRL: texts that are right, in few forward passes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from wla import runtime
from wla.models import masked_mean
from wla.models.masked_decoding import Snapshots
from wla.models.trajectory import Rows
from wla.training import EpisodeValidation, OnPolicyObjective
from wla.training.learner import Learner
from wla.training.rl.groups import Groups, Values, add_speed, group_means, group_range, group_spread, informative
from wla.training.rl.minibatches import optimize
from wla.training.rl.policy_gradient import clipped_loss, divergence_estimate, standardized
from wla.training.sampling import numpy_rng
from wla.training.step import micro_batch_seed
from wla.training.toy_language import sums
from wla.training.toy_language.checkpoint import load_language_model, save_language_model
from wla.training.toy_language.configs import ToyLanguageRLConfig
from wla.training.toy_language.texts import Texts, validation_metrics, write

MIN_SPEED_RANGE = 0.01
"""Tokens per pass by which the texts of a group differ at least to tell fast ones from slow ones (LightningRL)."""


@dataclass(frozen=True)
class WrittenTexts(Rows):
    """Texts that are learned from. tokens: prompts and texts. snapshots: their forward passes. before: log-probability
    of each text when it was drawn."""

    tokens: Int64[Tensor, "B T"]
    snapshots: Snapshots
    before: Float[Tensor, " B"]
    advantage: Float[Tensor, " B"]
    success: Bool[Tensor, " B"]


class ReinforcedTextObjective(OnPolicyObjective):
    """A `wla.training.objective.OnPolicyObjective`: the whole model. An episode is a text."""

    def __init__(self, config: ToyLanguageRLConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        if runtime.world_size() > 1:
            raise ValueError("reinforcement learning runs in one process: start it without torchrun")
        self._config = config
        self._language, self._model = load_language_model(config.start)
        self._decoding = self._language.decoding
        self._starting = copy.deepcopy(self._model).requires_grad_(False).to(runtime.device(config.loop.device))

    @property
    def config(self) -> ToyLanguageRLConfig:
        return self._config

    @property
    def module(self) -> nn.Module:
        return self._model

    @property
    def episodes(self) -> int:
        return self.config.groups * self.config.group_size

    @property
    def validation(self) -> EpisodeValidation:
        return EpisodeValidation(self._validate)

    def update(self, step: int, learner: Learner, device: torch.device) -> dict[str, float]:
        # The number 0 seeds the order of the minibatches.
        generator = torch.Generator().manual_seed(micro_batch_seed(self.config.loop, step, 1))
        pairs = sums.draw_sums(self.config.groups, self._language.digits, "training", numpy_rng(generator))
        pairs = pairs.repeat(self.config.group_size, 0)
        texts = write(self._model, pairs, self._language.digits, self._decoding, generator)
        written, metrics = self._to_learn_from(texts)
        suspects = [sums.decode(prompt) for prompt in texts.prompts[:: self.config.group_size].tolist()]
        found = optimize(learner, self.config.loop, step, written, len(written.advantage), self.config.epochs, suspects)
        return texts.metrics | metrics | found

    def compute_losses(self, batch: WrittenTexts, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a minibatch of texts, and for the log the mean probability ratio, the clipped fraction, the
        divergence from the supervised model (`kl`) and the anchor."""
        revealed, config = batch.snapshots.revealed, self.config
        log_prob = self._model.log_prob(batch.tokens, batch.snapshots, self._decoding.mask)
        with torch.no_grad():
            starting = self._starting.log_prob(batch.tokens, batch.snapshots, self._decoding.mask)
        clipped = clipped_loss(log_prob.sum((1, 2)) - batch.before, batch.advantage, config.clip)
        divergence = masked_mean(divergence_estimate(starting - log_prob), revealed)
        anchor = masked_mean(-log_prob, revealed & batch.success[:, None, None])
        return {
            "loss": clipped.loss + config.kl_weight * divergence + config.anchor_weight * anchor,
            "kl": divergence,
            "anchor": anchor,
            "ratio": clipped.ratio.mean(),
            "clip_fraction": clipped.outside.float().mean(),
        }

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        save_language_model(folder, self._language, weights)

    def resume(self, folder: Path) -> bool:
        """Nothing is made of data: all that a run needs is in its state and in the model that it started from."""
        return False

    def close(self) -> None:
        pass

    def _to_learn_from(self, texts: Texts) -> tuple[WrittenTexts, dict[str, float]]:
        success, speeds = texts.success.astype(float), texts.text.tokens_per_pass.double().cpu().numpy()
        groups = np.arange(len(success)) // self.config.group_size
        weight = self.config.speed_weight
        values = add_speed(success, speeds, groups, weight=weight, decoupled=self.config.decoupled)
        kept = self._kept(success, speeds, groups) if self.config.group_filter else np.ones(len(values), bool)
        device = texts.prompts.device
        index = torch.from_numpy(kept.nonzero()[0]).to(device)
        text = texts.text.rows(index)
        written = WrittenTexts(
            tokens=torch.cat([texts.prompts[index], text.tokens], 1),
            snapshots=Snapshots.of(text, self._decoding),
            before=text.log_prob.sum(1),
            advantage=standardized(torch.from_numpy(values).float().to(device)[index]),
            success=torch.from_numpy(texts.success).to(device)[index],
        )
        spreads = {"success_spread": group_spread(success, groups), "speed_spread": group_spread(speeds, groups)}
        return written, spreads | {"kept_fraction": float(kept.mean())}

    def _kept(self, success: Values, speeds: Values, groups: Groups) -> Bool[np.ndarray, " E"]:
        """Whether a text's group has a right text and tells good ones from bad ones."""
        if not self.config.speed_weight:
            return informative(success, groups)
        return (group_means(success, groups) > 0) & (group_range(speeds, groups) >= MIN_SPEED_RANGE)

    def _validate(self, learner: Learner) -> dict[str, float]:
        with learner.evaluating():
            return validation_metrics(self._model, self.config.validation_texts, self._language.digits, self._decoding)
