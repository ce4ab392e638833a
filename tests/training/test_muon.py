from __future__ import annotations

import pytest
import torch

from wla.training.muon import Muon, orthogonal

COEFFICIENTS, EPS = (3.4445, -4.775, 2.0315), 1e-7


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7)])
def test_it_matches_pytorchs_muon_up_to_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    initial = torch.randn(shape)
    gradients = [torch.randn(shape) for _ in range(4)]
    results = []
    for optimizer_class in (Muon, torch.optim.Muon):
        value = torch.nn.Parameter(initial.clone())
        optimizer = optimizer_class([value], lr=0.02, momentum=0.9, weight_decay=0.1)
        for gradient in gradients:
            value.grad = gradient.clone()
            optimizer.step()
        results.append(value.detach())
        assert list(optimizer.state[value]) == ["momentum_buffer"]
    distance = (results[1] - initial).norm()
    assert (results[0] - results[1]).norm() < 0.03 * distance


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_singular_values_become_close_to_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = 1e-3 * torch.randn(shape)
    before = torch.linalg.svd(matrix)
    after = orthogonal(matrix, COEFFICIENTS, 5, EPS).float()
    assert torch.linalg.svdvals(after).sub(1).abs().max() < 0.4
    assert (before.U.T @ after @ before.Vh.T).diagonal().min() > 0.6, "the singular vectors are unchanged"


def test_parameters_without_a_gradient_are_unchanged() -> None:
    value = torch.nn.Parameter(torch.ones(3, 3))
    Muon([value], lr=1.0).step()
    assert torch.equal(value.detach(), torch.ones(3, 3))
