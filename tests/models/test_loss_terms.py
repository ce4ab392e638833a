from __future__ import annotations

import math

import torch

from wla.models.configs import LossWeights
from wla.models.losses import masked_mean, next_token_loss, weighted_sum
from wla.types import IGNORE_INDEX


def test_the_total_adds_each_term_with_its_weight():
    losses = {"world": torch.tensor(10.0), "language": torch.tensor(100.0), "action": torch.tensor(1.0)}
    total = weighted_sum(losses, LossWeights(action=2.0, world=0.5, language=0.25))
    assert total.item() == 2.0 * 1.0 + 0.5 * 10.0 + 0.25 * 100.0


def test_masked_entries_do_not_count_in_a_mean():
    values = torch.tensor([[1.0, 1e9], [3.0, 1e9]])
    assert masked_mean(values, torch.tensor([[True, False], [True, False]])).item() == 2.0
    assert masked_mean(values, torch.zeros(2, 2, dtype=torch.bool)).item() == 0.0


def test_the_text_loss_is_the_mean_cross_entropy_over_labelled_tokens():
    logits, labels = torch.zeros(3, 4), torch.tensor([1, IGNORE_INDEX, 3])
    assert math.isclose(next_token_loss(logits, labels).item(), math.log(4), rel_tol=1e-6)
    assert next_token_loss(logits, torch.full((3,), IGNORE_INDEX)).item() == 0.0
