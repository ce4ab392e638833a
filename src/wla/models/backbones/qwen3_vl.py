"""The full-size backbone: Qwen3-VL from transformers, as in RynnBrain-2B and the published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers import DynamicCache, Qwen3VLConfig, Qwen3VLModel

from wla.models import attention
from wla.models.backbones.base import Backbone, Context, run_layers, token_positions
from wla.models.backbones.configs import QwenBackboneConfig
from wla.types import ImageKey


class QwenBackbone(Backbone):
    """Vision tower with deepstack features, and causal text layers with positions in time, height and width."""

    def __init__(self, config: QwenBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.text.hidden_size
        self.num_layers = config.text.num_hidden_layers
        self.primary = config.primary
        vision = config.vision
        self.image_tokens = config.image_tokens
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
                attn_implementation={"text_config": attention.NAME, "vision_config": "sdpa"},
            )
        )

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        present = self._image_masks(tokens)
        patches, grids = [], []
        for name in self.image_tokens:
            patch, grid = self.patchify(images[name])
            patches.append(patch)
            grids.append(grid)
        has_image = torch.stack(list(present.values()), dim=1)
        has_patch = torch.cat(
            [mask[:, None].expand(x.shape[:2]) for mask, x in zip(present.values(), patches, strict=True)], dim=1
        )
        context, features = self.encode_patches(
            tokens,
            attention_mask,
            torch.cat(patches, 1)[has_patch],
            torch.stack(grids, 1)[has_image],
            keep_cache=keep_cache,
        )
        has_token = torch.cat(
            [present[name][:, None].expand(-1, count) for name, count in self.image_tokens.items()], dim=1
        )
        filled = features.new_zeros(*has_token.shape, self.width).masked_scatter(has_token[..., None], features)
        context.images = dict(zip(present, filled.split(list(self.image_tokens.values()), dim=1), strict=True))
        return context

    def encode_patches(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        patches: Float[Tensor, "N pixels"],
        grid: Int64[Tensor, "I 3"],
        *,
        keep_cache: bool = False,
    ) -> tuple[Context, Float[Tensor, "P D"]]:
        """Encode prompts from the patches of their images.

        Args:
            tokens: token ids (B, T).
            attention_mask: (B, T), False for padding.
            patches: patches (N, pixels) of all images in the order of their placeholders, row by row.
            grid: number of patches of each image in time, height and width.
            keep_cache: whether keys and values are stored for `extend`.

        Returns:
            The context, and the features (P, D) of all placeholders.

        Raises:
            ValueError: the images give another number of tokens than the prompts have placeholders.
        """
        is_image = tokens == self.config.image_token
        vision = self.model.visual(patches.to(self.model.visual.dtype), grid_thw=grid)
        embeddings = self.model.language_model.embed_tokens(tokens)
        features = vision.pooler_output.to(embeddings.dtype)
        if len(features) != int(is_image.sum()):
            raise ValueError(
                f"the prompt has {int(is_image.sum())} image placeholders and the images give {len(features)} tokens; "
                "build the prompt for these images"
            )
        embeddings = embeddings.masked_scatter(is_image[..., None], features)
        deepstack = [
            torch.zeros_like(embeddings).masked_scatter(is_image[..., None], deep.to(embeddings.dtype))
            for deep in vision.deepstack_features
        ]
        positions, shift = self.model.get_rope_index(
            tokens, is_image.int(), image_grid_thw=grid, attention_mask=attention_mask
        )
        context = Context([], {}, attention_mask, DynamicCache() if keep_cache else None, shift)
        rotary = self.model.language_model.rotary_emb(embeddings, positions)
        return run_layers(self.model.language_model.layers, embeddings, context, rotary, deepstack), features

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        assert context.cache is not None, "encode with keep_cache=True before extending"
        attention_mask = torch.cat([context.attention_mask, mask], dim=1)
        context = Context([], context.images, attention_mask, context.cache, context.shift)
        positions = token_positions(attention_mask, tokens.shape[1]) + context.shift
        text = self.model.language_model
        embeddings = text.embed_tokens(tokens)
        rotary = text.rotary_emb(embeddings, positions.expand(3, -1, -1))
        return run_layers(text.layers, embeddings, context, rotary)

    def enable_activation_checkpointing(self) -> None:
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        text = self.model.language_model
        return nn.functional.linear(text.norm(states), text.embed_tokens.weight)

    def patchify(self, images: UInt8[Tensor, "B H W 3"]) -> tuple[Float[Tensor, "B N pixels"], Int64[Tensor, "B 3"]]:
        """Patches (B, N, pixels) in the vision tower's merge order, with pixels in [-1, 1], and their grids (B, 3)."""
        vision = self.config.vision
        patch, merge = vision.patch_size, vision.spatial_merge_size
        batch, height, width, _ = images.shape
        rows, columns = height // patch, width // patch
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0  # half precision would merge neighbouring shades
        blocks = pixels.view(batch, 3, rows // merge, merge, patch, columns // merge, merge, patch)
        # (B, block row, block column, row in block, column in block, channel, y, x)
        blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7)
        frames = blocks[..., None, :, :].expand(*blocks.shape[:6], vision.temporal_patch_size, patch, patch)
        grid = torch.tensor([[1, rows, columns]], device=images.device).expand(batch, -1)
        return frames.reshape(batch, rows * columns, -1), grid

    def _image_masks(self, tokens: Int64[Tensor, "B T"]) -> dict[str, Bool[Tensor, " B"]]:
        """Masks (B,) of the samples that have each image; only history images may be missing."""
        counts = (tokens == self.config.image_token).sum(1)
        optional = {name for name in self.image_tokens if ImageKey.parse(name).time == "history"}
        history = sum(self.image_tokens[name] for name in optional)
        total = sum(self.image_tokens.values())
        wrong = (counts != total) & (counts != total - history)
        if wrong.any():
            raise ValueError(
                f"a prompt has {int(counts[wrong][0])} image placeholders; images {list(self.image_tokens)} "
                f"need {total}, or {total - history} without the history images"
            )
        everywhere = torch.ones_like(counts, dtype=torch.bool)
        return {name: counts == total if name in optional else everywhere for name in self.image_tokens}
