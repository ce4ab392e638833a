"""The full-size backbone: Qwen3-VL from transformers, as in RynnBrain-2B and the published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers import DynamicCache, Qwen3VLConfig, Qwen3VLModel

from wla.models import attention
from wla.models.activation_checkpointing import checkpoint_options
from wla.models.backbones.base import Backbone, Context, extended, fill_placeholders, run_layers, token_positions
from wla.models.backbones.configs import QwenBackboneConfig
from wla.models.backbones.qwen3_vl_images import Grid, ImageReader, StackedAttention
from wla.types import ImageKey


class QwenBackbone(Backbone):
    """Vision tower with deepstack features, and causal text layers with positions in time, height and width."""

    def __init__(self, config: QwenBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.text.hidden_size
        self.num_layers = config.text.num_hidden_layers
        self.primary, self.image_token = config.primary, config.image_token
        vision = config.vision
        self.image_tokens = config.image_tokens
        self.optional = frozenset(name for name in config.cameras if ImageKey.parse(name).past)
        text = config.text.model_dump(exclude={"rope_theta", "mrope_section"}, mode="json")
        rope = {
            "rope_type": "default",
            "rope_theta": config.text.rope_theta,
            "mrope_section": list(config.text.mrope_section),
            "mrope_interleaved": True,
        }
        self.model = Qwen3VLModel(
            Qwen3VLConfig(
                text_config={**text, "rope_parameters": rope},
                vision_config={
                    **vision.model_dump(),
                    "deepstack_visual_indexes": list(vision.deepstack_visual_indexes),
                },
                image_token_id=config.image_token,
                vision_start_token_id=config.vision_start,
                vision_end_token_id=config.vision_end,
                tie_word_embeddings=True,
                attn_implementation=attention.NAME,
            )
        )
        for block in self.model.visual.blocks:
            block.attn = StackedAttention(block.attn.qkv, block.attn.proj, block.attn.num_heads)
        grids = [(side // vision.patch_size, side // vision.patch_size) for side in config.cameras.values()]
        self.reader = ImageReader(vision, set(grids))
        self.register_buffer("layout", image_layout(grids, vision.spatial_merge_size), persistent=False)
        self.register_buffer("required", torch.tensor(self._required(), dtype=torch.long), persistent=False)

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        device = self.model.language_model.embed_tokens.weight.device
        tokens, attention_mask, unpadded = self.receive(tokens, attention_mask, device)
        features, deepstack = self._see(images)
        is_image = tokens == self.image_token
        index = (is_image.long().cumsum(1) - 1).clamp(min=0)
        seen = dict(zip(self.image_tokens, features.split(list(self.image_tokens.values()), dim=1), strict=True))
        if self.optional:
            lacks = is_image.sum(1)[:, None] < features.shape[1]
            index = torch.where(lacks, self.get_buffer("required")[index], index)
            seen.update({name: seen[name].masked_fill(lacks[..., None], 0) for name in self.optional})
        positions, shift = image_positions(attention_mask, is_image, self.get_buffer("layout")[:, index])
        context = Context([], seen, attention_mask, DynamicCache() if keep_cache else None, shift, unpadded)
        index = index + torch.arange(len(tokens), device=device)[:, None] * features.shape[1]
        flat = [x.flatten(0, 1) for x in (features, *deepstack)]
        return self._read(tokens, is_image, flat, index, positions, context)

    def encode_patches(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        patches: Float[Tensor, "N pixels"],
        grid: Int64[Tensor, "I 3"],
    ) -> tuple[Context, Float[Tensor, "P D"]]:
        """Encode prompts from the patches of any images, in the order of their placeholders.

        Args:
            tokens: token ids (B, T).
            attention_mask: (B, T), False for padding.
            patches: patches (N, pixels) of all images.
            grid: number of patches of each image in time (one), height and width.

        Returns:
            The context, and the features (P, D) of all placeholders.

        Raises:
            ValueError: the images give another number of tokens than the prompts have placeholders.
        """
        is_image = tokens == self.image_token
        grids = [(rows, columns) for _, rows, columns in grid.tolist()]
        pieces = patches.split([rows * columns for rows, columns in grids])
        read = [self.reader(self.model.visual, x[None], size) for x, size in zip(pieces, grids, strict=True)]
        flat = [
            torch.cat([level[0] for level in levels]) for levels in zip(*((x, *deep) for x, deep in read), strict=True)
        ]
        if len(flat[0]) != int(is_image.sum()):
            raise ValueError(
                f"the prompt has {int(is_image.sum())} image placeholders and the images give {len(flat[0])} tokens; "
                "build the prompt for these images"
            )
        index = (is_image.flatten().long().cumsum(0) - 1).clamp(min=0).view_as(is_image)
        layout = image_layout(grids, self.config.vision.spatial_merge_size)
        positions, shift = image_positions(attention_mask, is_image, layout.to(index.device)[:, index])
        context = Context([], {}, attention_mask, None, shift)
        return self._read(tokens, is_image, flat, index, positions, context), flat[0]

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        tokens, context = extended(context, tokens, mask)
        positions = token_positions(context.attention_mask, tokens.shape[1]) + context.shift
        text = self.model.language_model
        embeddings = text.embed_tokens(tokens)
        rotary = text.rotary_emb(embeddings, positions.expand(3, -1, -1))
        return run_layers(text.layers, embeddings, context, rotary)

    def enable_activation_checkpointing(self) -> None:
        self.model.gradient_checkpointing_enable(checkpoint_options())

    def image_features(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B P D"]:
        patch = self.config.vision.patch_size
        grid = (images.shape[1] // patch, images.shape[2] // patch)
        return self.reader(self.model.visual, self.reader.patchify(images), grid)[0]

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        text = self.model.language_model
        return nn.functional.linear(text.norm(states), text.embed_tokens.weight)

    def _required(self) -> list[int]:
        """Indices of the placeholders that every prompt has, among those of all images; then of the last again."""
        found: list[int] = []
        first = 0
        for name, count in self.image_tokens.items():
            found += [] if name in self.optional else range(first, first + count)
            first += count
        return found + [first - 1] * (first - len(found))

    def _see(
        self, images: Mapping[str, UInt8[Tensor, "B H W 3"]]
    ) -> tuple[Float[Tensor, "B P D"], list[Float[Tensor, "B P D"]]]:
        """Features of all images in the order of the prompt, and those for the first text layers; one pass of the
        vision tower for each size."""
        patch = self.config.vision.patch_size
        by_name: dict[str, list[Tensor]] = {}
        for side in dict.fromkeys(self.config.cameras.values()):
            names = [name for name, own in self.config.cameras.items() if own == side]
            patches = self.reader.patchify(torch.cat([images[name] for name in names]))
            features, deepstack = self.reader(self.model.visual, patches, (side // patch, side // patch))
            levels = [x.chunk(len(names)) for x in (features, *deepstack)]
            by_name |= {name: [level[index] for level in levels] for index, name in enumerate(names)}
        first, *rest = (
            torch.cat(level, dim=1) for level in zip(*(by_name[name] for name in self.image_tokens), strict=True)
        )
        return first, rest

    def _read(
        self,
        tokens: Int64[Tensor, "B T"],
        is_image: Bool[Tensor, "B T"],
        features: Sequence[Float[Tensor, "P D"]],
        index: Int64[Tensor, "B T"],
        positions: Int64[Tensor, "3 B T"],
        context: Context,
    ) -> Context:
        """Runs the text layers. features: of all images, then those that the first layers add; index: see
        `fill_placeholders`."""
        text = self.model.language_model
        embeddings = text.embed_tokens(tokens)
        nothing = torch.zeros_like(embeddings)
        embeddings, *deepstack = (
            fill_placeholders(before, is_image, x.to(embeddings.dtype), index)
            for before, x in zip((embeddings, *[nothing] * (len(features) - 1)), features, strict=True)
        )
        return run_layers(text.layers, embeddings, context, text.rotary_emb(embeddings, positions), deepstack)


def image_layout(grids: Sequence[Grid], merge: int) -> Int64[Tensor, "3 P"]:
    """For each placeholder of some images: its row and column, and by how much the positions advance after it, which is
    the longer side of the image after its last one."""
    tables = []
    for rows, columns in grids:
        rows, columns = rows // merge, columns // merge
        index = torch.arange(rows * columns)
        advance = torch.where(index == len(index) - 1, max(rows, columns), 0)
        tables.append(torch.stack([index // columns, index % columns, advance]))
    return torch.cat(tables, dim=1)


def image_positions(
    attention_mask: Bool[Tensor, "B T"], is_image: Bool[Tensor, "B T"], layout: Int64[Tensor, "3 B T"]
) -> tuple[Int64[Tensor, "3 B T"], Int64[Tensor, "B 1"]]:
    """Positions in time, height and width, and the `shift` of a `Context`.

    layout: of the placeholder at each position, see `image_layout`; anything for other tokens.
    """
    row, column, advance = layout
    steps = torch.where(is_image, advance, attention_mask.long())
    after = steps.cumsum(1)
    start, here = after - steps, is_image.long()
    positions = torch.stack([start, start + row * here, start + column * here])
    return positions, after[:, -1:] - attention_mask.sum(1, keepdim=True)
