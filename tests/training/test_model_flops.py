from __future__ import annotations

import pytest
import tiny_qwen
import torch
from torch.utils.flop_counter import FlopCounterMode

from wla.bench.synthetic import Blueprint, random_batch
from wla.hardware import peak_bf16_flops
from wla.models.losses import weighted_sum
from wla.training.model_flops import ModelFlops

CPU = torch.device("cpu")


def flops(counter: ModelFlops | FlopCounterMode, *parts: str) -> int:
    """Of a forward and a backward pass of the small model with Qwen's backbone, as `counter` counts them.

    parts: whose activations are computed again.
    """
    checkpoint = tiny_qwen.checkpoint(language=True)
    blueprint = Blueprint(checkpoint.config, checkpoint.robot.spec, tiny_qwen.tokenizer())
    made = blueprint.checkpoint(CPU, imagination=True, dtype=torch.float32)
    model = made.model.train()
    if parts:
        model.enable_activation_checkpointing(parts)
    batch = random_batch(made, 2)
    with counter:
        losses = model.compute_loss(batch, torch.Generator().manual_seed(0))
        weighted_sum(losses, model.config.loss_weights).backward()
    return counter.total if isinstance(counter, ModelFlops) else counter.get_total_flops()


def test_what_is_recomputed_is_counted_once():
    plain = flops(ModelFlops())
    everything = ("backbone", "action_expert", "world_expert")
    assert plain == flops(FlopCounterMode(display=False))
    assert plain == flops(ModelFlops(), *everything)
    some, more = (flops(FlopCounterMode(display=False), *parts) for parts in (everything[:1], everything))
    assert plain < some < more  # what runs, as far as it was asked for


def test_linear_layers_count_without_gradients_too():
    layer, x = torch.nn.Linear(8, 16), torch.randn(4, 8)
    with torch.inference_mode(), ModelFlops() as counter:
        layer(x)
    assert counter.total == 2 * 4 * 8 * 16


@pytest.mark.parametrize(
    ("name", "teraflops"), [("NVIDIA H200", 989.4), ("NVIDIA GeForce RTX 5090", 209.5), ("Voodoo 2", None)]
)
def test_peaks_are_those_of_data_sheets_and_never_guessed(name, teraflops):
    assert peak_bf16_flops(name) == (None if teraflops is None else teraflops * 1e12)
