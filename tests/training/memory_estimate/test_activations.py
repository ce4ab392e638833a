"""The formulas of activations against what PyTorch keeps, on a CPU and in float32."""

from __future__ import annotations

from dataclasses import replace

import pytest
import tiny
import torch

from wla.batch import Batch
from wla.models import attention
from wla.models.backbones.configs import (
    MetaQueryConfig,
    QwenBackboneConfig,
    QwenTextConfig,
    QwenVisionConfig,
    SmolVLMBackboneConfig,
    SmolVLMTextConfig,
    SmolVLMVisionConfig,
)
from wla.models.configs import WLAConfig
from wla.models.experts.configs import ActionExpertConfig, ConnectorConfig, WorldExpertConfig
from wla.models.wla import WLA
from wla.training.freeze import freeze
from wla.training.memory_estimate.activations import Kernels
from wla.training.memory_estimate.estimate import training_memory
from wla.training.memory_estimate.saved_activations import SavedActivations
from wla.training.memory_estimate.workload import LABELLED, Sizes, Workload

IMAGE, VISION_START, VISION_END = 500, 501, 502
TEXT, SAMPLES = 24, 2


def qwen_config(*, width: int = 256) -> WLAConfig:
    """The full-size kind of model, a few layers of it."""
    codec = tiny.model_config().codec
    return WLAConfig(
        backbone=QwenBackboneConfig(
            text=QwenTextConfig(
                vocab_size=600,
                hidden_size=width,
                intermediate_size=3 * width,
                num_hidden_layers=4,
                num_attention_heads=8,
                num_key_value_heads=4,
                head_dim=32,
                max_position_embeddings=1024,
                mrope_section=(8, 4, 4),
            ),
            vision=QwenVisionConfig(
                depth=4,
                hidden_size=128,
                intermediate_size=512,
                num_heads=4,
                out_hidden_size=width,
                num_position_embeddings=256,
                deepstack_visual_indexes=(1, 2),
            ),
            image_token=IMAGE,
            vision_start=VISION_START,
            vision_end=VISION_END,
            cameras={"history front": 128, "front": 128, "wrist": 128},
            primary="front",
        ),
        queries=MetaQueryConfig(begin=510, end=511, first=512, count=16),
        action_expert=ActionExpertConfig(
            state_dim=tiny.STATE,
            action_dim=tiny.ACTION,
            chunk=8,
            width=128,
            heads=4,
            layers=4,
            noise_samples_per_chunk=16,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=8,
            latent_size=8,
            layers=4,
            heads=4,
            head_width=32,
            cross_heads=4,
            connector=ConnectorConfig(mlp=4 * width, head_width=64, out=192),
        ),
        codec=codec,
    )


def smolvlm_config(*, width: int = 256) -> WLAConfig:
    """A few layers of the small model with a published backbone."""
    whole = qwen_config(width=width)
    backbone = SmolVLMBackboneConfig(
        text=SmolVLMTextConfig(
            vocab_size=600,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=32,
        ),
        vision=SmolVLMVisionConfig(
            hidden_size=128, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4, image_size=256
        ),
        image_token=IMAGE,
        cameras={"front": 256, "wrist": 256},
        primary="front",
    )
    return whole.replace(backbone=backbone)


def work(model: WLAConfig, **changes: object) -> Workload:
    return Workload(model=model, samples=SAMPLES, text_tokens=TEXT, **changes)


def batch(model: WLAConfig) -> Batch:
    """Random, with as many tokens as `work` says and `LABELLED` labels a sample."""
    backbone, generator = model.backbone, torch.Generator().manual_seed(0)
    qwen = isinstance(backbone, QwenBackboneConfig)
    row: list[int] = []
    for count in backbone.image_tokens.values():
        image = [backbone.image_token] * count
        row += [VISION_START, *image, VISION_END] if qwen else image
    queries = [model.queries.begin, *range(model.queries.first, model.queries.first + model.queries.count)]
    length = work(model).tokens
    # Words that mean nothing special to either model.
    row = [*row, *[300] * (length - len(row) - len(queries)), *queries]
    tokens = torch.tensor([row] * SAMPLES)
    labels = torch.full_like(tokens, -100)
    labels[:, -LABELLED - len(queries) : -len(queries)] = 300
    chunk = (SAMPLES, model.action_expert.chunk, model.action_expert.action_dim)
    return Batch(
        tokens=tokens,
        attention_mask=torch.ones_like(tokens, dtype=torch.bool),
        labels=labels,
        images={
            name: torch.randint(0, 256, (SAMPLES, side, side, 3), dtype=torch.uint8, generator=generator)
            for name, side in backbone.cameras.items()
        },
        state=torch.zeros(SAMPLES, model.action_expert.state_dim),
        actions=torch.zeros(chunk),
        action_mask=torch.ones(chunk, dtype=torch.bool),
        subgoal=torch.zeros(SAMPLES, model.target_side, model.target_side, 3, dtype=torch.uint8),
        subgoal_mask=torch.ones(SAMPLES, dtype=torch.bool),
    )


def measured(model: WLA, inputs: Batch) -> int:
    """Bytes of the storages that the graph of a forward pass holds, without parameters and what was passed in."""
    held: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage  # holding it keeps its address from being used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        losses = model.compute_loss(inputs, torch.Generator().manual_seed(0))
    assert torch.isfinite(losses["action"])
    own = {value.untyped_storage().data_ptr() for value in model.state_dict().values()}
    return sum(storage.nbytes() for address, storage in held.items() if address not in own)


CONFIGS = {"tiny": tiny.model_config, "qwen": qwen_config, "smolvlm": smolvlm_config}
CHANGES = {
    "all": {},
    "without the backbone": {"freeze": ("^backbone",)},
    "without the vision tower": {"freeze": (r"^backbone\.(model\.(visual|vision_model)|stem)",)},
    "recomputed": {"activation_checkpointing": True},
    "experts recomputed": {"activation_checkpointing": ("action_expert", "world_expert")},
}


def fuse(monkeypatch) -> None:
    """Attention as on accelerators, which never keeps its scores."""
    for module in ("attention", "experts.action_blocks", "experts.connector", "backbones.qwen3_vl_images"):
        monkeypatch.setattr(f"wla.models.{module}.attend", attention.attend_fused)


def prepared(asked: Workload) -> WLA:
    torch.manual_seed(0)
    model = WLA(asked.model).train()
    freeze(model, asked.freeze)
    if recomputed := asked.activation_checkpointing:
        model.enable_activation_checkpointing(None if recomputed is True else recomputed)
    return model


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", CONFIGS)
def test_the_formulas_are_near_what_is_kept(name, change, fused, monkeypatch):
    if fused:
        fuse(monkeypatch)
    asked = work(CONFIGS[name](), **CHANGES[change])
    parts = SavedActivations(asked, Sizes(asked), Kernels(autocast=False, fused=fused)).parts
    assert sum(parts.values()) == pytest.approx(measured(prepared(asked), batch(asked.model)), rel=0.25)


@pytest.mark.parametrize("change", [name for name in CHANGES if "recomputed" not in name])
@pytest.mark.parametrize("name", CONFIGS)
def test_they_are_near_under_autocast(name, change, monkeypatch):
    """With the copies of weights that the graph holds then (with recomputing, autocast holds them, not the graph)."""
    fuse(monkeypatch)
    asked = work(CONFIGS[name](), **CHANGES[change])
    memory = training_memory(asked)
    with torch.autocast("cpu", torch.bfloat16):
        real = measured(prepared(asked), batch(asked.model))
    assert memory.activations + memory.copies == pytest.approx(real, rel=0.25)


def test_twice_the_samples_keep_twice_as_much():
    once = work(qwen_config())
    twice = replace(once, samples=2 * SAMPLES)
    kept = [sum(SavedActivations(asked, Sizes(asked), Kernels()).parts.values()) for asked in (once, twice)]
    assert kept[1] == 2 * kept[0]
