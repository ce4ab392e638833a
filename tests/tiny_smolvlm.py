"""A small policy with the SmolVLM backbone, and a folder as SmolVLM is published."""

from __future__ import annotations

from pathlib import Path

import tiny
import tiny_qwen
import torch
from transformers import SmolVLMForConditionalGeneration

from wla.models.backbones.configs import MetaQueryConfig, SmolVLMBackboneConfig, SmolVLMTextConfig, SmolVLMVisionConfig
from wla.models.backbones.smolvlm import SmolVLMBackbone
from wla.models.configs import WLAConfig

IMAGE = 400
"""The first new token, after those of the published vocabulary: the image, 8 locations, 2 markers, 3 queries."""
VOCABULARY = IMAGE + 1 + tiny.PROMPT.locations + 2 + tiny.PROMPT.queries
CAMERAS = {"front": 32, "wrist": 16}
TOKENS = {"front": 4, "wrist": 1}


def backbone_config(
    *, cameras: dict[str, int] = CAMERAS, tied: bool = False, rows: int = VOCABULARY
) -> SmolVLMBackboneConfig:
    """Images of 32 and 16 pixels, which are 4 tokens and 1."""
    return SmolVLMBackboneConfig(
        text=SmolVLMTextConfig(
            vocab_size=rows,
            hidden_size=tiny.WIDTH,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=256,
        ),
        vision=SmolVLMVisionConfig(
            hidden_size=24,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=48,
            patch_size=8,
        ),
        scale_factor=2,
        tie_word_embeddings=tied,
        image_token=IMAGE,
        cameras=cameras,
        primary="front",
    )


def backbone(*, cameras: dict[str, int] = CAMERAS, seed: int = 0, tied: bool = False) -> SmolVLMBackbone:
    """Random, with weights large enough that positions, images and tokens all change what comes out."""
    torch.manual_seed(seed)
    built = backbone_config(cameras=cameras, tied=tied).build().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    return built


def model_config() -> WLAConfig:
    begin = IMAGE + 1 + tiny.PROMPT.locations
    queries = MetaQueryConfig(begin=begin, end=begin + 1, first=begin + 2, count=tiny.PROMPT.queries)
    return tiny.model_config().replace(backbone=backbone_config(), queries=queries)


def write_vlm(folder: Path, seed: int = 0) -> SmolVLMForConditionalGeneration:
    """Writes a model without the new tokens, as SmolVLM is published, and returns it."""
    torch.manual_seed(seed)
    config = backbone_config(rows=IMAGE).build().model.config
    published = SmolVLMForConditionalGeneration(config)
    published.save_pretrained(folder)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    core = tiny_qwen.qwen_core(special, first=IMAGE - len(special))
    (folder / "tokenizer.json").write_text(core.to_str(), encoding="utf-8")
    return published
