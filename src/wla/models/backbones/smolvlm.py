"""The small backbone: SmolVLM (Idefics3's layout) from transformers, as in SmolVLM2-256M and 500M.

Published weights have the names of this module's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from transformers import DynamicCache, SmolVLMConfig, SmolVLMModel

from wla.models import attention
from wla.models.activation_checkpointing import checkpoint_options
from wla.models.backbones.base import Backbone, Context, extended, fill_placeholders, run_layers, token_positions
from wla.models.backbones.configs import SmolVLMBackboneConfig


class SmolVLMBackbone(Backbone):
    """SigLIP's vision tower, whose patches are merged and projected, and causal Llama layers."""

    def __init__(self, config: SmolVLMBackboneConfig) -> None:
        super().__init__()
        self.config = config
        self.width = config.text.hidden_size
        self.num_layers = config.text.num_hidden_layers
        self.primary, self.image_token = config.primary, config.image_token
        self.image_tokens = config.image_tokens
        text = config.text.model_dump(exclude={"rope_theta"})
        rope = {"rope_type": "default", "rope_theta": config.text.rope_theta}
        self.model = SmolVLMModel(
            SmolVLMConfig(
                text_config={"model_type": "llama", **text, "rope_parameters": rope, "pad_token_id": None},
                vision_config=config.vision.model_dump(),
                scale_factor=config.scale_factor,
                image_token_id=config.image_token,
                tie_word_embeddings=config.tie_word_embeddings,
                attn_implementation={"text_config": attention.NAME, "vision_config": "sdpa"},
            )
        )
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(self.width, config.text.vocab_size, bias=False)

    def encode(
        self,
        tokens: Int64[Tensor, "B T"],
        attention_mask: Bool[Tensor, "B T"],
        images: Mapping[str, UInt8[Tensor, "B H W 3"]],
        *,
        keep_cache: bool = False,
    ) -> Context:
        embed = self.model.text_model.embed_tokens
        tokens, attention_mask, unpadded = self.receive(tokens, attention_mask, embed.weight.device)
        features = {name: self.image_features(images[name]) for name in self.image_tokens}
        embeddings = embed(tokens)
        pixels = torch.cat(list(features.values()), dim=1).to(embeddings.dtype)
        embeddings = fill_placeholders(embeddings, tokens == self.image_token, pixels.flatten(0, 1))
        cache = DynamicCache() if keep_cache else None
        return self._layers(embeddings, Context([], features, attention_mask, cache, unpadded=unpadded))

    def extend(self, context: Context, tokens: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Context:
        tokens, context = extended(context, tokens, mask)
        return self._layers(self.model.text_model.embed_tokens(tokens), context)

    def enable_activation_checkpointing(self) -> None:
        self.model.gradient_checkpointing_enable(checkpoint_options())

    def logits(self, states: Float[Tensor, "*N D"]) -> Float[Tensor, "*N vocabulary"]:
        text = self.model.text_model
        head = text.embed_tokens if self.lm_head is None else self.lm_head
        return nn.functional.linear(text.norm(states), head.weight)

    def image_features(self, images: UInt8[Tensor, "B S S 3"]) -> Float[Tensor, "B P D"]:
        """Features of images, whose pixels are scaled to [-1, 1] as the library's processor does."""
        pixels = images.permute(0, 3, 1, 2).float() / 127.5 - 1.0  # half precision would merge neighbouring shades
        tower = self.model.vision_model
        return self.model.connector(tower(pixels.to(tower.dtype)).last_hidden_state)

    def _layers(self, x: Float[Tensor, "B T D"], context: Context) -> Context:
        text = self.model.text_model
        rotary = text.rotary_emb(x, token_positions(context.attention_mask, x.shape[1]))
        return run_layers(text.layers, x, context, rotary)
