from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny
import torch
from test_activations import qwen_config

from wla.cli.main import main
from wla.models.wla import WLA
from wla.training.configs import LoraConfig, OptimConfig
from wla.training.freeze import freeze
from wla.training.lora import add_lora
from wla.training.memory_estimate.estimate import inference_memory, training_memory
from wla.training.memory_estimate.suggestions import GB, Estimate, report
from wla.training.memory_estimate.workload import Sizes, Workload, workload
from wla.training.optim import build_optimizers
from wla.training.wla0 import preset_train_config

RECIPES = Path(__file__).parents[3] / "src" / "wla" / "recipes"


def size(tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors)


@pytest.mark.parametrize("changes", [{}, {"freeze": ("^backbone",)}, {"muon": (r"text\.layers\.",)}])
def test_weights_gradients_and_moments_are_exact(changes):
    asked = Workload(model=tiny.model_config(), samples=2, **changes)
    model = WLA(asked.model)
    freeze(model, asked.freeze)
    optim = OptimConfig(steps=1, muon=asked.muon)
    trained = [value for value in model.parameters() if value.requires_grad]
    for value in trained:
        value.grad = torch.zeros_like(value)
    optimizers = build_optimizers(optim, model)
    for optimizer in optimizers:
        optimizer.step()
    moments = [x for o in optimizers for state in o.state.values() for key, x in state.items() if key != "step"]
    memory = training_memory(asked)
    assert memory.weights == size(model.parameters())
    assert memory.gradients == size(value.grad for value in trained)
    assert memory.optimizer_state == size(moments)


def test_adapters_are_counted_exactly():
    pytest.importorskip("peft")
    asked = Workload(
        model=qwen_config(), samples=2, adapters=("language_model.layers",), modules_to_save=("embed_tokens",), rank=4
    )
    model = WLA(asked.model)
    add_lora(model.backbone, LoraConfig(rank=4, alpha=8, target_modules=asked.adapters))
    trained = [value for value in model.parameters() if value.requires_grad]
    memory = training_memory(asked)
    assert memory.weights == size(model.parameters())
    assert memory.gradients == size(trained)
    parts = Sizes(asked).parts()
    assert sum(ours for _, ours in parts.values()) == sum(value.numel() for value in trained)


def test_processes_share_what_they_can():
    asked = workload(preset_train_config("wla0_libero"))
    sizes = Sizes(asked)
    alone, fsdp, zero1 = (
        training_memory(workload(preset_train_config("wla0_libero").override(words), processes), sizes)
        for words, processes in (((), 1), ((), 8), (("loop.strategy=zero1",), 8))
    )
    assert fsdp.optimizer_state == zero1.optimizer_state == alone.optimizer_state // 8
    assert (fsdp.weights, fsdp.gradients) == (alone.weights // 8, alone.gradients // 8)
    assert (zero1.weights, zero1.gradients) == (alone.weights, alone.gradients)
    assert fsdp.activations == zero1.activations == alone.activations
    assert alone.total > zero1.total > fsdp.total


def test_acting_holds_the_checkpoints_weights():
    asked = workload(preset_train_config("wla0_libero"))
    acting = inference_memory(asked, Sizes(asked))
    assert acting.weights == 2 * (2_127_667_200 + 388_261_895)
    assert acting.weights + acting.imagination_weights == 2 * 3_497_158_122


@pytest.mark.slow
def test_advice_leads_to_what_it_says():
    estimate = Estimate(preset_train_config("wla0_libero"))
    changes = estimate.suggest(24 * GB)
    assert changes
    now = estimate.memory().total
    for change in changes:
        memory = Estimate(estimate.config.override(change.overrides), processes=change.processes).memory()
        assert memory == change.memory
        assert memory.total < now
    same = [change.same_result for change in changes]
    assert same == sorted(same, reverse=True)
    together = estimate.combined(32 * GB)
    assert together.memory.total <= 32 * GB
    assert estimate.memory(together.overrides) == together.memory


def test_as_few_micro_batches_as_fit():
    estimate = Estimate(preset_train_config("wla0_libero"))
    gpu = 70 * GB
    found = next(change for change in estimate.suggest(gpu) if "loop.micro_batches" in "".join(change.overrides))
    assert found.memory.total <= gpu
    count = int(found.overrides[-1].partition("=")[2])
    assert count < 256
    assert estimate.memory([f"loop.micro_batches={count // 2}"]).total > gpu


def test_what_fits_needs_no_advice():
    text = report("x", preset_train_config("wla0_libero").override(["loop.micro_batches=256"]), gpu=80.0, processes=1)
    assert text.endswith("fits on a GPU of 80 GB")
    assert "what to change" not in text


@pytest.mark.parametrize("recipe", ["wla0_rmbench", RECIPES / "wla0_libero.py", RECIPES / "nano_tabletop.py"])
def test_the_command(recipe, capsys):
    assert main(["estimate", str(recipe), "--gpu", "80", "--processes", "1"]) == 0
    text = capsys.readouterr().out
    assert re.search(r"total +[\d,]+ +[\d,]+ +[\d,]+\n", text)
    assert "on a GPU of 80 GB" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.py"], "no recipe 'nowhere.py'"),
        (["wla1"], "no recipe 'wla1': neither a bundled name"),
        ([str(RECIPES / "nano_codec.py")], "nano_codec.py does not train a policy (CodecTrainConfig)"),
        (["wla0_libero", "--gpu", "0"], "--gpu: Input should be greater than 0"),
        (["wla0_libero", "--processes", "0"], "--processes: Input should be greater"),
        (["wla0_libero", "--processes", "3"], "8 micro-batches cannot be shared by 3 processes"),
        (["wla0_libero", "loop.micro_batches=7"], "batch_size 256 is not a multiple of micro_batches 7"),
        (["wla0_libero", 'loop.optim.freeze=["nothing"]'], "optim.freeze: 'nothing' matches no parameter"),
        (
            ["wla0_libero", 'lora={"rank": 4, "alpha": 8, "target_modules": ["nothing"]}'],
            "lora.target_modules: 'nothing' matches",
        ),
    ],
)
def test_a_mistake_is_one_line(words, message, capsys):
    assert main(["estimate", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
