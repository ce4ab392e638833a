"""What a recipe needs before it runs: parameters, memory for acting and training, and what to change if it is too much.

The model is built on the meta device: no data, no download, no memory. Weights, gradients and moments are counted
exactly; activations follow the module `activations`; the rest (what is computed beside them, CUDA itself) is an
allowance. Bytes are for a GPU: bfloat16 by autocast, fused attention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from accelerate import init_empty_weights
from torch import nn

from wla.models.backbones.nano import NanoBackboneConfig
from wla.models.wla import WLA, WLAConfig
from wla.training.fsdp import repeated_blocks
from wla.training.memory_estimate import activations
from wla.training.memory_estimate.activations import FLOAT32_BYTES, Kernels, text_sizes
from wla.training.objectives.initialization import FromPretrained
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.optim import freeze

RESERVE = 10**9
"""Bytes for CUDA itself and for gaps between tensors."""
TEXT_TOKENS, LABELLED = 64, 12
"""Tokens of a prompt that are neither image nor query, and those that a sample learns to say: the usual numbers."""
PARTS = {
    "backbone, vision": r"backbone\.(stem|model\.visual)\.",
    "backbone, embeddings": r"backbone\..*embed_tokens\.",
    "backbone, text": r"backbone\.",
    "connector": r"world_expert\.connector\.",
    "World Expert": r"world_expert\.",
    "image codec": r"codec\.",
    "Action Expert": r"action_expert\.",
}
"""Part -> names of its parameters; the first that matches."""


@dataclass(frozen=True)
class Workload:
    """What the memory of a training step depends on.

    samples: of a micro-batch. freeze, muon: regular expressions of parameters. adapters: regular expressions of the
    backbone's linear layers that get one, of `rank`; () for none. dtype_bytes: of a checkpoint's weight.
    """

    model: WLAConfig
    samples: int
    activation_checkpointing: bool = False
    freeze: tuple[str, ...] = ()
    muon: tuple[str, ...] = ()
    adapters: tuple[str, ...] = ()
    modules_to_save: tuple[str, ...] = ()
    """Regular expressions of the backbone's parameters that are trained beside adapters."""
    rank: int = 0
    ema: bool = False
    processes: int = 1
    zero1: bool = False
    dtype_bytes: int = 4
    predicts_subtasks: bool = True
    text_tokens: int = TEXT_TOKENS

    @property
    def tokens(self) -> int:
        """Of a sequence: text, images, begin marker, queries."""
        return self.text_tokens + image_tokens(self.model) + 1 + self.model.queries.count


@dataclass(frozen=True)
class Memory:
    """Bytes of one process at the height of a training step."""

    weights: int
    gradients: int
    optimizer_state: int
    ema: int
    gathered: int
    copies: int
    activations: int
    workspace: int

    @property
    def total(self) -> int:
        return RESERVE + sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class InferenceMemory:
    """Bytes of one `act`: weights, the cache of keys and values, what is computed beside them; and what imagining adds:
    weights of World Expert and codec, and the codec's own computation."""

    weights: int
    cache: int
    workspace: int
    imagination_weights: int
    imagination_workspace: int


def workload(config: PolicyTrainConfig, processes: int = 1) -> Workload:
    """The one place that reads a recipe. The base's scenes, which a nano policy takes along, are not counted."""
    loop, lora = config.loop, config.lora
    return Workload(
        model=config.model,
        samples=loop.batch_size // loop.micro_batches,
        activation_checkpointing=config.activation_checkpointing,
        freeze=loop.optim.freeze,
        muon=loop.optim.muon,
        adapters=lora.target_modules if lora else (),
        modules_to_save=lora.modules_to_save if lora else (),
        rank=lora.rank if lora else 0,
        ema=loop.ema is not None,
        processes=processes,
        zero1=loop.strategy == "zero1",
        dtype_bytes=2 if config.dtype == "bfloat16" else FLOAT32_BYTES,
        predicts_subtasks=config.init.prompt.language if isinstance(config.init, FromPretrained) else True,
    )


def image_tokens(model: WLAConfig) -> int:
    backbone = model.backbone
    if isinstance(backbone, NanoBackboneConfig):
        pixels = 2 ** (len(backbone.stem_channels) + 1)
    else:
        pixels = backbone.vision.patch_size * backbone.vision.spatial_merge_size
    return sum((side // pixels) ** 2 for side in backbone.cameras.values())


class Sizes:
    """A workload's model on the meta device: which parameters there are, and which are trained.

    numel: name -> numbers in it; trained: name -> how many of its numbers, or of its adapter's, are trained.
    """

    def __init__(self, work: Workload) -> None:
        """ValueError when a pattern matches nothing."""
        with init_empty_weights():
            self.model = WLA(work.model)
        assert self.model.codec is not None
        self.model.codec.requires_grad_(False)
        self.adapters: dict[str, int] = {}
        if work.adapters:
            for name, value in self.model.backbone.named_parameters():
                value.requires_grad_(any(re.search(pattern, name) for pattern in work.modules_to_save))
            self.adapters = _adapters(self.model, work)
        freeze(self.model, work.freeze)
        self.numel = {name: value.numel() for name, value in self.model.named_parameters()}
        own = {name: value.numel() * value.requires_grad for name, value in self.model.named_parameters()}
        self.trained = {name: count + self.adapters.get(name, 0) for name, count in own.items()}

    def parts(self) -> dict[str, tuple[int, int]]:
        """Part -> its parameters, adapters included, and how many of them are trained."""
        found = dict.fromkeys(PARTS, (0, 0))
        for name, count in self.numel.items():
            part = next(part for part, pattern in PARTS.items() if re.match(pattern, name))
            whole, trained = found[part]
            found[part] = (whole + count + self.adapters.get(name, 0), trained + self.trained[name])
        return found

    def any_trained(self, pattern: str) -> bool:
        return any(count and re.match(pattern, name) for name, count in self.trained.items())

    def first_trained(self, blocks: str, count: int) -> int:
        """Number of the first block with something to train; `count` when there is none."""
        return next((i for i in range(count) if self.any_trained(rf"{blocks}\.{i}\.")), count)


def _adapters(model: WLA, work: Workload) -> dict[str, int]:
    """Name of a linear layer's weight -> parameters of its adapter."""
    linear = {name: layer for name, layer in model.backbone.named_modules() if isinstance(layer, nn.Linear)}
    for pattern in work.adapters:
        if not any(re.search(pattern, name) for name in linear):
            raise ValueError(
                f"lora.target_modules: {pattern!r} matches no linear layer of the backbone; name some of them"
            )
    return {
        f"backbone.{name}.weight": work.rank * (layer.in_features + layer.out_features)
        for name, layer in linear.items()
        if any(re.search(pattern, name) for pattern in work.adapters)
    }


def saved_activations(work: Workload, sizes: Sizes, kernels: Kernels) -> tuple[dict[str, int], int]:
    """Bytes that a micro-batch keeps by part, and those of the largest block, which `activation_checkpointing` computes again.

    With recompute a block keeps what it reads. The stem and what stands between the blocks are never recomputed. Blocks
    behind which nothing is trained keep nothing.
    """
    model, samples = work.model, work.samples
    text, expert, world = text_sizes(model.backbone), model.action_expert, model.world_expert
    queries, largest = model.queries.count, 0
    parts = dict.fromkeys(("vision", "text", "language", "connector", "World Expert", "Action Expert"), 0)

    def block(part: str, count: int, whole: int, read: int) -> None:
        nonlocal largest
        parts[part] += count * (read if work.activation_checkpointing else whole)
        largest = max(largest, whole if work.activation_checkpointing and count else 0)

    backbone = model.backbone
    sees = sizes.any_trained(PARTS["backbone, vision"])
    if isinstance(backbone, NanoBackboneConfig):
        layers = "backbone.text.layers"
        parts["vision"] = samples * activations.stem(backbone, kernels) if sees else 0
    else:
        layers, vision = "backbone.model.language_model.layers", backbone.vision
        patches = samples * image_tokens(model) * vision.spatial_merge_size**2
        visual = "backbone.model.visual"
        early = sizes.any_trained(rf"{visual}\.(patch_embed|pos_embed)")
        first = 0 if early else sizes.first_trained(f"{visual}.blocks", vision.depth)
        read = kernels.matmul_bytes * patches * vision.hidden_size
        block("vision", vision.depth - first, activations.vision_block(vision, patches, kernels), read)
        parts["vision"] += activations.vision_io(vision, patches, kernels) if sees else 0
    below = sees or sizes.any_trained(PARTS["backbone, embeddings"])
    first = 0 if below else sizes.first_trained(layers, text.layers)
    read = samples * FLOAT32_BYTES * work.tokens * text.width
    block("text", text.layers - first, samples * activations.text_layer(text, work.tokens, kernels), read)
    flows = first < text.layers or below
    if flows:
        # A sample stands in where none learns words, see `wla.training.objectives.dummy_targets`.
        labelled = samples * LABELLED if work.predicts_subtasks else 1
        parts["language"] = activations.language(text, labelled, kernels)
    if flows or sizes.any_trained(PARTS["Action Expert"]):
        condition = expert.noise_samples_per_chunk * 2 * kernels.matmul_bytes * expert.width * queries
        for index in range(expert.layers):
            cross_attention = index % 2 == expert.first_cross
            whole = activations.action_block(expert, text.width, queries, kernels, cross_attention=cross_attention)
            read = FLOAT32_BYTES * expert.noise_samples_per_chunk * (expert.chunk + 1) * expert.width
            if cross_attention:  # keys and values are computed outside of the block
                read += condition + queries * kernels.linear_inputs(text.width, 2)
            block("Action Expert", 1, samples * whole, samples * read)
        parts["Action Expert"] += samples * activations.action_io(expert, kernels)
    if flows or sizes.any_trained(PARTS["World Expert"]):
        imagined = samples if model.max_world_samples is None else min(samples, model.max_world_samples)
        sources, wide = primary_tokens(model) + queries, world.heads * world.head_width
        whole, read = (
            activations.connector_layer(world, text.width, sources, kernels),
            FLOAT32_BYTES * sources * text.width,
        )
        block("connector", world.layers, imagined * whole, imagined * read)
        parts["connector"] += imagined * world.layers * activations.condition_io(world, sources, kernels)
        read = FLOAT32_BYTES * wide * (world.latent_size**2 + sources)
        block(
            "World Expert", world.layers, imagined * activations.world_block(world, sources, kernels), imagined * read
        )
        parts["World Expert"] += imagined * activations.world_io(world, kernels)
    return parts, largest


def primary_tokens(model: WLAConfig) -> int:
    """Tokens of the image that the World Expert starts from."""
    cameras = model.backbone.cameras
    primary = next(iter(cameras)) if isinstance(model.backbone, NanoBackboneConfig) else model.backbone.primary
    alone = model.backbone.replace(cameras={primary: cameras[primary]})
    return image_tokens(model.replace(backbone=alone))


def training_memory(work: Workload, sizes: Sizes | None = None, kernels: Kernels = Kernels()) -> Memory:  # noqa: B008
    """One process's bytes when the last micro-batch's forward pass ends.

    FSDP2 spreads weights, gradients, moments and the average, and gathers what belongs to no block, and two blocks at a
    time. ZeRO-1 spreads moments and a copy of the weights that it steps. Autocast's bfloat16 copies are never spread.
    """
    sizes = sizes or Sizes(work)
    whole, trained = sum(sizes.numel.values()) + sum(sizes.adapters.values()), sum(sizes.trained.values())
    optimizer_state = FLOAT32_BYTES * sum(_optimizer_state_numel(work, sizes).values())
    parts, largest = saved_activations(work, sizes, kernels)
    spread = 1 if work.zero1 else work.processes
    gathered = 0
    if work.processes > 1 and work.zero1:
        gathered = FLOAT32_BYTES * trained // work.processes
    elif work.processes > 1:
        each = [sum(value.numel() for value in block.parameters()) for block in repeated_blocks(sizes.model)]
        root = sum(sizes.numel.values()) - sum(each)
        gathered = 2 * FLOAT32_BYTES * (root + 2 * max(each))  # weights, and as much of gradients
    return Memory(
        weights=FLOAT32_BYTES * whole // spread,
        gradients=FLOAT32_BYTES * trained // spread,
        optimizer_state=optimizer_state // work.processes,
        ema=FLOAT32_BYTES * trained // spread if work.ema else 0,
        gathered=gathered,
        copies=_copies(work, sizes, parts) if kernels.autocast else 0,
        activations=sum(parts.values()),
        workspace=max(largest, _codec_workspace(work, kernels)),
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
    total = 0
    for name, value in sizes.model.named_parameters():
        if value.ndim < 2 or not name.endswith("weight") or name.startswith("codec.") or ".pos_embed." in name:
            continue
        part = "connector" if ".connector." in name else "World Expert" if name.startswith("world_expert.") else ""
        part = part or ("Action Expert" if name.startswith("action_expert.") else "text")
        part = "vision" if re.match(PARTS["backbone, vision"], name) else part
        if value.requires_grad:
            total += 2 * value.numel()
        elif parts[part] and not work.activation_checkpointing:
            total += 2 * value.numel() * (work.model.world_expert.layers if part == "connector" else 1)
    return total


def _codec_workspace(work: Workload, kernels: Kernels, samples: int | None = None) -> int:
    """Three times the largest level of the codec's encoder (or decoder), over all images at once: what a residual block
    reads, computes and gives."""
    model = work.model
    if samples is None:
        samples = work.samples if model.max_world_samples is None else min(work.samples, model.max_world_samples)
    codec, side = model.codec, model.target_side
    channels = zip(codec.encoder_block_out_channels, codec.decoder_block_out_channels, strict=True)
    levels = [max(pair) * (side // 2**level) ** 2 for level, pair in enumerate(channels)]
    return 3 * kernels.matmul_bytes * samples * max(levels)


def inference_memory(work: Workload, sizes: Sizes) -> InferenceMemory:
    """One `act` of one episode, in the checkpoint's precision.

    The cache keeps keys and values of every layer, 2 L K T; beside it are the states of all layers, L T D, and one
    layer's inside, 4 D + 4 M each token. An image takes three times the codec's largest level.
    """
    text, half = text_sizes(work.model.backbone), work.dtype_bytes
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
