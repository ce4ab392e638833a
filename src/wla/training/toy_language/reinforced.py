"""Reinforcement learning of the toy language after LightningRL: texts that are right, in few forward passes."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.models import masked_mean
from wla.training import EpisodeValidation, OnPolicyObjective
from wla.training.learner import Learner
from wla.training.rl.minibatches import optimize, update_generator
from wla.training.rl.policy_gradient import clipped_loss, divergence_estimate
from wla.training.toy_language.checkpoint import load_language_model, save_language_model
from wla.training.toy_language.collected import CollectedTexts, collect
from wla.training.toy_language.configs import ToyLanguageRLConfig
from wla.training.toy_language.texts import validation_metrics


class ReinforcedTextObjective(OnPolicyObjective):
    """A `wla.training.objective.OnPolicyObjective`: the whole model. An episode is a text."""

    def __init__(self, config: ToyLanguageRLConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        if runtime.world_size() > 1:
            raise ValueError("reinforcement learning runs in one process: start it without torchrun")
        self._config = config
        self._language, self._model = load_language_model(config.start)
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
        loop, generator = self.config.loop, update_generator(self.config.loop, step)
        texts, metrics, prompts = collect(self._model, self._language, self.config, generator)
        count, epochs = len(texts.advantage), self.config.epochs
        return metrics | optimize(learner, loop, step, texts, count, epochs, prompts, generator)

    def compute_losses(self, batch: CollectedTexts, generator: torch.Generator) -> dict[str, Tensor]:
        """Losses of a minibatch of texts, and for the log the mean probability ratio (per token, as all terms
        are), the clipped fraction, the divergence from the supervised model (`kl`) and the anchor."""
        revealed, config, mask = batch.snapshots.revealed, self.config, self._language.decoding.mask
        dtype = runtime.autocast_dtype(batch.tokens.device)
        with torch.autocast(batch.tokens.device.type, dtype, enabled=dtype != torch.float32):
            log_prob = self._model.log_prob(batch.tokens, batch.snapshots, mask)
            with torch.no_grad():
                starting = self._starting.log_prob(batch.tokens, batch.snapshots, mask)
        log_ratio = ((log_prob * revealed).sum((1, 2)) - batch.before) / revealed.sum((1, 2))
        clipped = clipped_loss(log_ratio, batch.advantage, config.clip)
        divergence = masked_mean(divergence_estimate((starting - log_prob) * revealed), revealed)
        anchor = masked_mean(-log_prob, batch.snapshots.masked(mask) & batch.success[:, None, None])
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

    def _validate(self, learner: Learner) -> dict[str, float]:
        language = self._language
        with learner.evaluating():
            return validation_metrics(self._model, self.config.validation_texts, language.digits, language.decoding)
