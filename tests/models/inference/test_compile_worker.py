"""What a process that compiles reads: it makes the same functions of it, and its failure is one line."""

from __future__ import annotations

import json

import pytest
import tiny

from wla.models.configs import ValueConfig
from wla.models.inference import compile_worker
from wla.models.inference.compile_worker import compile_functions, functions_of, request
from wla.models.inference.function_sets import FunctionSet, acting_functions, image_functions, value_functions
from wla.models.value_model import ValueModel
from wla.models.wla import WLA


def functions(kind: str) -> FunctionSet:
    if kind == "value":
        model = ValueModel(ValueConfig(backbone=tiny.model_config().backbone.replace(cameras={"front": 32})))
        return value_functions(model.config, model.backbone)
    found = (acting_functions if kind == "acting" else image_functions)(WLA(tiny.model_config()), "bfloat16")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["acting", "images", "value"])
def test_a_process_makes_the_functions_that_it_reads_of(kind, tmp_path):
    own = functions(kind)
    made = functions_of(json.loads(request(own, tmp_path, ["a"])))
    assert made.fingerprint == own.fingerprint
    assert made.precision == own.precision
    for name, module in own.modules.items():
        shapes = [(key, tensor.shape, tensor.dtype) for key, tensor in module.state_dict().items()]
        assert [(key, tensor.shape, tensor.dtype) for key, tensor in made.modules[name].state_dict().items()] == shapes


def test_a_process_that_fails_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_worker, "cores", lambda: 2)
    monkeypatch.setattr(compile_worker.sys, "executable", "false")
    with pytest.raises(ValueError, match=r"a process that compiles ended .'exit status 1'"):
        compile_functions(functions("acting"), tmp_path)
