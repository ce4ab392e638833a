"""Tests of ZeRO-1 that need no DeepSpeed; test_distributed.py trains with it where it is installed."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from test_trainer import Toy, loop

from wla.training.configs import LoopConfig
from wla.training.trainer import train


def zero1(**changes: object) -> LoopConfig:
    config = loop(2, strategy="zero1")
    return config.replace(optim=config.optim.replace(**{"muon": ()} | changes))


def test_muon_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"zero1 supports only AdamW: set loop.optim.muon=\[\] or use fsdp2"):
        train(Toy(), zero1(muon=("0.weight",)), tmp_path)


def test_without_deepspeed_the_error_names_the_package_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", None)
    with pytest.raises(ModuleNotFoundError, match=r"zero1 needs DeepSpeed: pip install deepspeed"):
        train(Toy(), zero1(), tmp_path)


def test_a_single_process_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(utils=None))
    with pytest.raises(ValueError, match="zero1 needs several processes: start with torchrun, or use fsdp2"):
        train(Toy(), zero1(), tmp_path)


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="strategy"):
        loop(2, strategy="zero3")
