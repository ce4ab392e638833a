"""The clipped policy gradient: its direction, where it ends, and the divergence that it estimates."""

from __future__ import annotations

import pytest
import torch

from wla.training.rl.policy_gradient import clipped_loss, divergence_estimate, standardized


def pull(log_ratio: float, advantage: float) -> float:
    value = torch.tensor([log_ratio], requires_grad=True)
    clipped_loss(value, torch.tensor([advantage]), 0.2).loss.backward()
    assert value.grad is not None
    return -value.grad.item()


def test_good_ones_become_likelier_and_bad_ones_less_likely_up_to_the_clip():
    assert pull(0.0, 1.0) == pytest.approx(1)
    assert pull(0.0, -1.0) == pytest.approx(-1)
    assert pull(0.3, 1.0) == pull(-0.3, -1.0) == 0
    assert pull(0.3, -1.0) < 0 < pull(-0.3, 1.0)


def test_what_is_clipped_is_counted():
    found = clipped_loss(torch.tensor([0.0, 0.3, -0.3, 0.1]), torch.ones(4), 0.2)
    assert found.outside.tolist() == [False, True, True, False]
    assert torch.isfinite(clipped_loss(torch.tensor([500.0]), torch.tensor([-1.0]), 0.2).loss)


def test_the_estimate_of_a_divergence_is_unbiased_and_never_negative():
    own, other = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.5, 0.3, 0.2])
    found = divergence_estimate((other / own).log())
    assert (found >= 0).all()
    torch.testing.assert_close((own * found).sum(), (own * (own / other).log()).sum())


def test_advantages_of_an_update_are_standardized():
    found = standardized(torch.tensor([1.0, 2.0, 6.0]))
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.std(correction=0).item() == pytest.approx(1)
    assert not standardized(torch.tensor([2.0, 2.0])).any()
    assert len(standardized(torch.empty(0))) == 0
