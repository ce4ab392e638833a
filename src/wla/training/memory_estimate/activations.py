"""Bytes that a forward pass keeps for its backward pass, derived from the architecture, part by part.

A layer keeps what its derivative needs: a linear layer what it read, a norm what it read and the normed values, an
activation function what it read, attention its queries, keys, values and answer. The formulas below count these for one
sample; nothing is kept where nothing before or in a layer is trained. Weights are float32. Under autocast matrix
products read and give bfloat16, and each casts a float32 input for itself; norms and the residual stream stay float32.
tests/training/memory_estimate/test_activations.py holds the formulas to what PyTorch really keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch

from wla.models.backbones.configs import NanoBackboneConfig, QwenBackboneConfig, SmolVLMBackboneConfig, TextSizes
from wla.models.experts.configs import ActionExpertConfig, WorldExpertConfig

FLOAT32_BYTES = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Kernels:
    """How layers compute. autocast: matrix products in bfloat16. fused: attention never writes its scores down, as on
    accelerators; on a CPU it does (see `wla.models.attention`)."""

    autocast: bool = True
    fused: bool = True

    @property
    def matmul_bytes(self) -> int:
        """Bytes of what a matrix product gives."""
        return 2 if self.autocast else FLOAT32_BYTES

    def linear_inputs(self, width: int, num_layers: int = 1) -> int:
        """A float32 vector that so many linear layers read: a cast for each, or one that they share."""
        return 2 * width * num_layers if self.autocast else FLOAT32_BYTES * width

    def attention(self, tokens: int, sources: int, width: int, heads: int, *, masked: bool = False) -> int:
        """tokens that look at sources: queries, keys, values, answer, and the scores (or their sums, when fused)."""
        vectors = self.matmul_bytes * width * (2 * tokens + 2 * sources)
        if self.fused:
            return vectors + FLOAT32_BYTES * tokens * heads
        return vectors + tokens * sources * (self.matmul_bytes * heads + masked)


def norm(width: int) -> int:
    """An RMS norm of a float32 vector: the vector, the normed one, and the factor between them."""
    return FLOAT32_BYTES * (2 * width + 1)


def text_layer(sizes: TextSizes, tokens: int, kernels: Kernels) -> int:
    """Norm, projections read by 3, norms over heads, attention over all heads, norm, projections read by 2, gated MLP.

    Keys and values are repeated for all heads before they attend. The MLP keeps gate, silu(gate), up, and their
    product: 4 M.
    """
    queries, keys = sizes.heads * sizes.head_width, sizes.groups * sizes.head_width
    heads = 0
    if sizes.head_norms:
        heads = (FLOAT32_BYTES + kernels.matmul_bytes) * (queries + keys) + FLOAT32_BYTES * (sizes.heads + sizes.groups)
    each = 2 * norm(sizes.width) + kernels.linear_inputs(sizes.width, 3) + heads
    each += kernels.linear_inputs(sizes.width, 2) + 4 * kernels.matmul_bytes * sizes.mlp
    return tokens * each + kernels.attention(tokens, tokens, queries, sizes.heads, masked=True)


def language(sizes: TextSizes, labelled: int, kernels: Kernels) -> int:
    """Norm, what the logits read, and the float32 log-probabilities of the whole vocabulary, for labelled tokens."""
    return labelled * (norm(sizes.width) + kernels.linear_inputs(sizes.width) + FLOAT32_BYTES * sizes.vocabulary)


@dataclass(frozen=True)
class VisionSizes:
    """Bytes of one sample in the vision module. io: outside of its blocks, kept whenever anything in it is trained.

    block: one of `blocks` blocks, which reads `block_input` bytes.
    """

    io: int
    blocks: int = 0
    block: int = 0
    block_input: int = 0


@singledispatch
def vision(config: object, kernels: Kernels) -> VisionSizes:
    """The vision module of a kind of backbone."""
    raise TypeError(f"no formula for the vision module of a {type(config).__name__}")


@vision.register(NanoBackboneConfig)
def _convolutional_stem(config: NanoBackboneConfig, kernels: Kernels) -> VisionSizes:
    """The first level keeps its output before and after silu, later ones also those of a residual block, and each
    convolution its input. Nothing of it is recomputed."""
    total = 0
    for side in config.cameras.values():
        channels = (3, *config.stem_channels, config.width)
        total += kernels.matmul_bytes * 3 * side**2
        for level in range(1, len(channels)):
            last = level + 1 == len(channels)
            kept = 2 if level == 1 else 4 if last else 5
            total += kept * kernels.matmul_bytes * channels[level] * (side // 2**level) ** 2
        total += FLOAT32_BYTES * config.width * (side // 2 ** (len(channels) - 1)) ** 2
    return VisionSizes(total)


@vision.register(QwenBackboneConfig)
def _vision_transformer(config: QwenBackboneConfig, kernels: Kernels) -> VisionSizes:
    """A block: norm, one projection to 3 V that stays whole, rotated queries and keys, answer, its copy, norm, MLP of
    2 M. Outside: pixels of the patches, and the mergers after the last block and after each deepstack block."""
    sizes = config.vision
    width, mlp = sizes.hidden_size, sizes.intermediate_size
    patches = sum(config.image_tokens.values()) * sizes.spatial_merge_size**2
    norms = 2 * (FLOAT32_BYTES * width + kernels.linear_inputs(width))
    block = patches * (norms + kernels.matmul_bytes * (7 * width + 2 * mlp) + FLOAT32_BYTES * sizes.num_heads)
    pixels = kernels.matmul_bytes * sizes.in_channels * sizes.temporal_patch_size * sizes.patch_size**2
    merger = FLOAT32_BYTES * width + kernels.linear_inputs(width) + 2 * kernels.matmul_bytes * width
    io = patches * (pixels + merger * (1 + len(sizes.deepstack_visual_indexes)))
    return VisionSizes(io, sizes.depth, block, kernels.matmul_bytes * patches * width)


@vision.register(SmolVLMBackboneConfig)
def _merged_patches(config: SmolVLMBackboneConfig, kernels: Kernels) -> VisionSizes:
    """A block: norm, queries, keys and values, answer, its copy, norm, MLP of 2 M. Outside: pixels of the patches, the
    norm after the last block, and the merged patches that the projection reads."""
    sizes = config.vision
    width, mlp = sizes.hidden_size, sizes.intermediate_size
    patches = sum(config.image_tokens.values()) * config.scale_factor**2
    norms = 2 * FLOAT32_BYTES * width + kernels.linear_inputs(width, 3) + kernels.linear_inputs(width)
    block = patches * (norms + kernels.matmul_bytes * (5 * width + 2 * mlp) + FLOAT32_BYTES * sizes.num_attention_heads)
    pixels = kernels.matmul_bytes * 3 * sizes.patch_size**2
    io = patches * (pixels + FLOAT32_BYTES * width + kernels.linear_inputs(width))
    return VisionSizes(io, sizes.num_hidden_layers, block, FLOAT32_BYTES * patches * width)


def connector_layer(world: WorldExpertConfig, width: int, tokens: int, kernels: Kernels) -> int:
    """One backbone layer's states through the connector.

    For each encoder layer: norm, projections read by 3, a norm over heads of queries and of keys (2 D each), attention,
    norm, read by 2, 4 M of the gated MLP. Then two projections and a norm.
    """
    config = world.connector
    heads = width // config.head_width
    each = (
        2 * norm(width) + kernels.linear_inputs(width, 3) + FLOAT32_BYTES * 4 * width + kernels.linear_inputs(width, 2)
    )
    each += 4 * kernels.matmul_bytes * config.mlp
    encoder = tokens * each + kernels.attention(tokens, tokens, width, heads)
    ends = kernels.linear_inputs(width) + (norm(width) if config.final_norm else 0)
    ends += 2 * kernels.matmul_bytes * config.out + norm(config.out)
    return config.layers * encoder + tokens * ends


def condition_io(world: WorldExpertConfig, tokens: int, kernels: Kernels) -> int:
    """Two projections and a norm between the connector and a block of the World Expert."""
    across = world.heads * world.head_width
    return tokens * (kernels.linear_inputs(world.connector.out) + 2 * kernels.matmul_bytes * across + norm(across))


def world_block(world: WorldExpertConfig, sources: int, kernels: Kernels) -> int:
    """A Sana block over its latent's places, W wide with F = mlp_ratio W, that looks at `sources` conditions.

    Norms with modulation keep 2 W; linear attention computes in float32: queries, keys, padded values, sums; attention
    across; a gated convolution that keeps 2 F three times and F twice.
    """
    width, places = world.heads * world.head_width, world.latent_size**2
    hidden = int(world.mlp_ratio * width)
    padded = width + world.heads
    upcast = 2 * FLOAT32_BYTES * width if kernels.autocast else 0
    linear = 2 * FLOAT32_BYTES * width + kernels.linear_inputs(width, 3) + 2 * kernels.matmul_bytes * width + upcast
    linear += FLOAT32_BYTES * (2 * padded + world.heads) + kernels.linear_inputs(width) + kernels.matmul_bytes * width
    across = kernels.linear_inputs(width) + kernels.matmul_bytes * 2 * width + FLOAT32_BYTES * world.cross_heads
    mixed = 2 * FLOAT32_BYTES * width + kernels.linear_inputs(width) + kernels.matmul_bytes * (8 * hidden + width)
    conditions = kernels.linear_inputs(width, 2) + kernels.matmul_bytes * 2 * width
    return places * (linear + across + mixed) + sources * conditions


def world_io(world: WorldExpertConfig, kernels: Kernels) -> int:
    """The last norm with modulation, what the output projection reads, and the error."""
    width = world.heads * world.head_width
    return world.latent_size**2 * (
        2 * FLOAT32_BYTES * width + kernels.linear_inputs(width) + FLOAT32_BYTES * world.latent_channels
    )


def action_block(
    expert: ActionExpertConfig, width: int, queries: int, kernels: Kernels, *, cross_attention: bool
) -> int:
    """A block of the Action Expert for one sample: `noise_samples_per_chunk` noises of n + 1 tokens, E wide.

    Two norms, attention, an MLP of 8 E. A block that attends to Q query states (of the backbone, D wide) repeats their
    keys and values for each noise.
    """
    rows, tokens, own = expert.noise_samples_per_chunk, expert.chunk + 1, expert.width
    norms = (
        2 * FLOAT32_BYTES * own + kernels.linear_inputs(own, 1 if cross_attention else 3) + kernels.linear_inputs(own)
    )
    each = rows * tokens * (norms + kernels.matmul_bytes * 8 * own)
    sources = queries if cross_attention else tokens
    attention = rows * kernels.attention(tokens, sources, own, expert.heads)
    return each + attention + (queries * kernels.linear_inputs(width, 2) if cross_attention else 0)


def action_io(expert: ActionExpertConfig, kernels: Kernels) -> int:
    """The encoders of actions and times, and the decoder."""
    own, inner = expert.width, expert.coder_width or expert.width
    each = (
        kernels.linear_inputs(2 * own)
        + 2 * kernels.matmul_bytes * own
        + FLOAT32_BYTES * own
        + kernels.linear_inputs(own)
        + kernels.matmul_bytes * inner
    )
    return expert.noise_samples_per_chunk * (expert.chunk + 1) * each
