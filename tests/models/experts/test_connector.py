"""The connector's norms where states and weights differ in precision."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from wla.models.experts.connector import RMSNorm


@pytest.fixture
def every_warning() -> Iterator[None]:
    """Warnings of torch are raised each time, not once per process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_a_norm_is_torch_s_without_its_warning(states, weights, every_warning):
    ours, theirs = RMSNorm(96, eps=1e-6).to(weights), nn.RMSNorm(96, eps=1e-6).to(weights)
    with torch.no_grad():
        ours.weight.copy_(torch.randn(96))
        theirs.weight.copy_(ours.weight)
    x = torch.randn(4, 7, 96).to(states)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = ours(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = theirs(x)
    assert found.dtype == wanted.dtype
    assert torch.equal(found, wanted)
