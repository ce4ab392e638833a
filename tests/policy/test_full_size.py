from __future__ import annotations

import math

import pytest
from accelerate import init_empty_weights
from torch import nn

from wla.compat.published_keys import passthrough_shapes
from wla.models.wla import WLA
from wla.presets.wla0 import presets


def empty(name: str) -> WLA:
    with init_empty_weights():
        return WLA(presets()[name].model)


def count(module: nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parts_have_the_published_sizes():
    model = empty("wla0_libero")
    assert model.world_expert is not None
    assert count(model.backbone) == 2_127_667_200
    assert count(model.world_expert.sana) == 591_821_632
    assert count(model.codec) == 312_250_275
    assert count(model.action_expert) == 388_261_895
    carried = sum(math.prod(shape) for shape in passthrough_shapes(model.config.action_expert.width).values())
    assert carried == 1_312_768  # of the published layout; no computation reads them
    assert count(model.action_expert) + carried == 389_574_663


@pytest.mark.parametrize("name", presets())
def test_a_preset_is_built_without_memory_or_network(name, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise AssertionError("building a model asked the network")

    monkeypatch.setattr("socket.socket.connect", refused)
    model = empty(name)
    assert all(parameter.is_meta for parameter in model.parameters())
    spec = presets()[name].robot
    assert model.config.action_expert.action_dim == spec.action.dim
    assert count(model) > 3.4e9
