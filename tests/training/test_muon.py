from __future__ import annotations

import pytest
import torch

from wla.training.muon import Muon, orthogonal

COEFFICIENTS, EPS = (3.4445, -4.775, 2.0315), 1e-7


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (7, 7)])
def test_it_steps_as_pytorchs_muon_does_up_to_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    begin = torch.randn(shape)
    gradients = [torch.randn(shape) for _ in range(4)]
    found = []
    for kind in (Muon, torch.optim.Muon):
        value = torch.nn.Parameter(begin.clone())
        optimizer = kind([value], lr=0.02, momentum=0.9, weight_decay=0.1)
        for gradient in gradients:
            value.grad = gradient.clone()
            optimizer.step()
        found.append(value.detach())
        assert list(optimizer.state[value]) == ["momentum_buffer"]
    moved = (found[1] - begin).norm()
    assert (found[0] - found[1]).norm() < 0.03 * moved


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)])
def test_singular_values_come_to_lie_about_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = 1e-3 * torch.randn(shape)
    before = torch.linalg.svd(matrix)
    after = orthogonal(matrix, COEFFICIENTS, 5, EPS).float()
    assert torch.linalg.svdvals(after).sub(1).abs().max() < 0.4
    assert (before.U.T @ after @ before.Vh.T).diagonal().min() > 0.6, "the directions stay"


def test_parameters_without_a_gradient_stay() -> None:
    value = torch.nn.Parameter(torch.ones(3, 3))
    Muon([value], lr=1.0).step()
    assert torch.equal(value.detach(), torch.ones(3, 3))
