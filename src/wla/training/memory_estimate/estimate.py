"""What a recipe needs before it runs: parameters, memory for acting and training, and what to change if it is too much.

The model is built on the meta device: no data, no download, no memory. Weights, gradients and moments are counted
exactly; activations follow the module `activations`; the rest (what is computed beside them, CUDA itself) is an
allowance. Bytes are for a GPU: bfloat16 by autocast, fused attention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from wla.training.fsdp import repeated_blocks
from wla.training.memory_estimate.activations import FLOAT32_BYTES, Kernels
from wla.training.memory_estimate.saved_activations import SavedActivations
from wla.training.memory_estimate.workload import Sizes, Workload, part_patterns

RESERVE = 10**9
"""Bytes for CUDA itself and for gaps between tensors."""


@dataclass(frozen=True)
class MemoryParts:
    """Base of bytes by what they are for, one field each."""

    @property
    def total(self) -> int:
        """All of them, and the reserve."""
        return RESERVE + sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Memory(MemoryParts):
    """Bytes of one process at the height of a training step."""

    weights: int
    gradients: int
    optimizer_state: int
    ema: int
    gathered: int
    copies: int
    activations: int
    workspace: int


@dataclass(frozen=True)
class InferenceMemory:
    """Bytes of one `act`: weights, the cache of keys and values, what is computed beside them; and what imagining adds:
    weights of World Expert and codec, and the codec's own computation."""

    weights: int
    cache: int
    workspace: int
    imagination_weights: int
    imagination_workspace: int


def training_memory(work: Workload, sizes: Sizes | None = None, kernels: Kernels = Kernels()) -> Memory:  # noqa: B008
    """One process's bytes when the last micro-batch's forward pass ends.

    FSDP2 spreads weights, gradients, moments and the average, and gathers what belongs to no block, and two blocks at a
    time. ZeRO-1 spreads moments and a copy of the weights that it steps. Autocast's bfloat16 copies are never spread.
    """
    sizes = sizes or Sizes(work)
    whole, trained = sum(sizes.numel.values()) + sum(sizes.adapters.values()), sum(sizes.trained.values())
    optimizer_state = FLOAT32_BYTES * sum(_optimizer_state_numel(work, sizes).values())
    saved = SavedActivations(work, sizes, kernels)
    spread = 1 if work.zero1 else work.processes
    gathered = 0
    if work.processes > 1 and work.zero1:
        gathered = FLOAT32_BYTES * trained // work.processes
    elif work.processes > 1:
        each = [sum(value.numel() for value in block.parameters()) for block in repeated_blocks(sizes.model)]
        root = sum(sizes.numel.values()) - sum(each)
        block_bytes = 2 if kernels.autocast else FLOAT32_BYTES  # see `wla.training.fsdp.shard`
        gathered = 2 * (FLOAT32_BYTES * root + block_bytes * 2 * max(each))  # weights, and as much of gradients
    return Memory(
        weights=FLOAT32_BYTES * whole // spread,
        gradients=FLOAT32_BYTES * trained // spread,
        optimizer_state=optimizer_state // work.processes,
        ema=FLOAT32_BYTES * trained // spread if work.ema else 0,
        gathered=gathered,
        copies=_copies(work, sizes, saved.parts) if kernels.autocast else 0,
        activations=sum(saved.parts.values()),
        workspace=max(saved.largest, _codec_workspace(work, kernels)),
    )


def _optimizer_state_numel(work: Workload, sizes: Sizes) -> dict[str, int]:
    """Numbers that the optimiser keeps for each parameter: two each by AdamW, one by Muon."""
    values = dict(sizes.model.named_parameters())
    return {
        name: count * (1 if values[name].ndim == 2 and any(re.search(p, name) for p in work.muon) else 2)
        for name, count in sizes.trained.items()
    }


def _copies(work: Workload, sizes: Sizes, parts: Mapping[str, int]) -> int:
    """bfloat16 copies of matrices. Autocast makes one of a trained matrix; one of a frozen matrix at each use, which is
    kept where a gradient passes through and nothing is recomputed. The connector's are used for each layer."""
    total, vision = 0, part_patterns(work.model)["backbone, vision"]
    for name, value in sizes.model.named_parameters():
        if value.ndim < 2 or not name.endswith("weight") or name.startswith("codec.") or ".pos_embed." in name:
            continue
        part = "connector" if ".connector." in name else "World Expert" if name.startswith("world_expert.") else ""
        part = part or ("Action Expert" if name.startswith("action_expert.") else "text")
        part = "vision" if re.match(vision, name) else part
        if value.requires_grad:
            total += 2 * value.numel()
        elif parts[part] and not work.recomputes(part):
            total += 2 * value.numel() * (work.model.world_expert.layers if part == "connector" else 1)
    return total


def _codec_workspace(work: Workload, kernels: Kernels, samples: int | None = None) -> int:
    """Three times the largest level of the codec's encoder (or decoder), over all images at once: what a residual block
    reads, computes and gives."""
    model = work.model
    samples = work.imagined_samples if samples is None else samples
    codec, side = model.codec, model.target_side
    channels = zip(codec.encoder_block_out_channels, codec.decoder_block_out_channels, strict=True)
    levels = [max(pair) * (side // 2**level) ** 2 for level, pair in enumerate(channels)]
    return 3 * kernels.matmul_bytes * samples * max(levels)


def inference_memory(work: Workload, sizes: Sizes) -> InferenceMemory:
    """One `act` of one episode, in the checkpoint's precision.

    The cache keeps keys and values of every layer, 2 L K T; beside it are the states of all layers, L T D, and one
    layer's inside, 4 D + 4 M each token. An image takes three times the codec's largest level.
    """
    text, half = work.model.backbone.text_sizes, work.dtype_bytes
    without = sum(count for name, count in sizes.numel.items() if not name.startswith(("world_expert.", "codec.")))
    keys = text.groups * text.head_width
    inside = half * work.tokens * (text.layers * text.width + 4 * text.width + 4 * text.mlp)
    return InferenceMemory(
        weights=half * without,
        cache=2 * half * text.layers * keys * work.tokens,
        workspace=inside,
        imagination_weights=half * (sum(sizes.numel.values()) - without),
        imagination_workspace=_codec_workspace(work, Kernels(autocast=half == 2), 1),
    )
