"""Texts that an update learns from: groups of them after the same prompt, each with its advantage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from wla.models.block_text import BlockText
from wla.models.masked_decoding import Snapshots
from wla.models.trajectory import Rows
from wla.training.rl.groups import Groups, Values, add_speed, group_means, group_range, group_spread, informative
from wla.training.rl.policy_gradient import standardized
from wla.training.sampling import numpy_rng
from wla.training.toy_language import sums
from wla.training.toy_language.configs import ToyLanguageConfig, ToyLanguageRLConfig
from wla.training.toy_language.texts import write

MIN_SPEED_RANGE = 0.01
"""Tokens per pass by which the texts of a group differ at least to tell fast ones from slow ones (LightningRL)."""


@dataclass(frozen=True)
class CollectedTexts(Rows):
    """tokens: prompts and texts. snapshots: their forward passes. before: log-probability of each text when it was
    drawn. success: whether it is right."""

    tokens: Int64[Tensor, "B T"]
    snapshots: Snapshots
    before: Float[Tensor, " B"]
    advantage: Float[Tensor, " B"]
    success: Bool[Tensor, " B"]


def collect(
    model: BlockText, language: ToyLanguageConfig, config: ToyLanguageRLConfig, generator: torch.Generator
) -> tuple[CollectedTexts, dict[str, float], list[str]]:
    """Texts drawn after training prompts, those that are learned from; metrics of all; and their prompts in words."""
    pairs = sums.draw_sums(config.groups, language.digits, "training", numpy_rng(generator))
    texts = write(model, pairs.repeat(config.group_size, 0), language.digits, language.decoding, generator)
    success, speeds = texts.success.astype(float), texts.text.tokens_per_pass.double().cpu().numpy()
    groups = np.arange(len(success)) // config.group_size
    values = add_speed(success, speeds, groups, weight=config.speed_weight, decoupled=config.decoupled)
    kept = _kept(success, speeds, groups, config)
    device = texts.prompts.device
    index = torch.from_numpy(kept.nonzero()[0]).to(device)
    text = texts.text.rows(index)
    collected = CollectedTexts(
        tokens=torch.cat([texts.prompts[index], text.tokens], 1),
        snapshots=Snapshots.of(text, language.decoding),
        before=text.log_prob.sum(1),
        advantage=standardized(torch.from_numpy(values).float().to(device)[index]),
        success=torch.from_numpy(texts.success).to(device)[index],
    )
    spreads = {"success_spread": group_spread(success, groups), "speed_spread": group_spread(speeds, groups)}
    prompts = [sums.decode(prompt) for prompt in texts.prompts[:: config.group_size].tolist()]
    return collected, texts.metrics | spreads | {"kept_fraction": float(kept.mean())}, prompts


def _kept(success: Values, speeds: Values, groups: Groups, config: ToyLanguageRLConfig) -> Bool[np.ndarray, " E"]:
    """Whether a text's group has a right text and tells good ones from bad ones; all, where nothing is filtered."""
    if not config.group_filter:
        return np.ones(len(success), bool)
    if not config.speed_weight:
        return informative(success, groups)
    return (group_means(success, groups) > 0) & (group_range(speeds, groups) >= MIN_SPEED_RANGE)
