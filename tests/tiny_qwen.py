"""A small policy with the Qwen3-VL backbone, its tokenizer, and folders as Qwen and Sana publish theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from toy_robot import robot
from transformers import PreTrainedTokenizerFast

from wla.data.normalize import Statistics, VectorStatistics
from wla.data.prompts.chat import add_queries
from wla.data.prompts.configs import ChatPromptConfig
from wla.models.backbones.configs import MetaQueryConfig, QwenBackboneConfig, QwenTextConfig, QwenVisionConfig
from wla.models.configs import ImageCodecConfig, WLAConfig
from wla.models.experts.configs import ActionExpertConfig, ConnectorConfig, WorldExpertConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import Checkpoint, CheckpointConfig
from wla.policy.robots import PolicyRobot
from wla.types import Observation

TEXT_VOCAB_SIZE, QUERIES, WIDTH = 512, 4, 64
"""Rows of the embedding before the markers, number of meta-queries, width of the backbone."""
IMAGE, VISION_START, VISION_END = 500, 502, 503
STATE, ACTION, CHUNK = 3, 2, 3
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|video_pad|>"]
SPECIAL_TOKENS = [*CONTROL_TOKENS, "<|vision_start|>", "<|vision_end|>"]
"""Qwen's special words, of which the first is word 497 here."""
SENTENCES = (
    "pick up the red block",
    "open the drawer",
    "place the block in the drawer",
    "Instruction: press the button",
)
CORPUS = [f"{text}.\n{text}. {text}.\n\nassistant\n\nuser\nCurrent subtask:\n" for text in SENTENCES]
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen cuts a text before it merges: a full stop and the newlines after it stay together."""


def qwen_core(special_tokens: list[str] = SPECIAL_TOKENS, *, first: int = 497) -> Tokenizer:
    """Byte-level BPE as Qwen's, in which a full stop and a newline are one token. first: id of the first special
    token."""
    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS * 2, trainers.BpeTrainer(vocab_size=380, initial_alphabet=alphabet, show_progress=False)
    )
    filler = [f"<unused_{index}>" for index in range(first - core.get_vocab_size())]
    core.add_special_tokens([AddedToken(word, normalized=False) for word in (*filler, *special_tokens)])
    return core


def tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of a policy: with the markers and meta-queries."""
    whole = PreTrainedTokenizerFast(
        tokenizer_object=qwen_core(), pad_token=SPECIAL_TOKENS[0], eos_token=SPECIAL_TOKENS[2]
    )
    add_queries(whole, first=TEXT_VOCAB_SIZE, queries=QUERIES)
    return whole


def cameras(*, first: bool) -> dict[str, int]:
    return {**({"first front": 32} if first else {}), "history front": 32, "front": 32, "wrist": 64}


def model_config(*, first: bool = False) -> WLAConfig:
    """Images of 32 and 64 pixels, which are 1 and 4 tokens; guidance 3."""
    return WLAConfig(
        backbone=QwenBackboneConfig(
            text=QwenTextConfig(
                vocab_size=TEXT_VOCAB_SIZE + 2 + QUERIES,
                hidden_size=WIDTH,
                intermediate_size=96,
                num_hidden_layers=3,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                max_position_embeddings=512,
                mrope_section=(4, 2, 2),
            ),
            vision=QwenVisionConfig(
                depth=2,
                hidden_size=32,
                intermediate_size=48,
                num_heads=2,
                out_hidden_size=WIDTH,
                num_position_embeddings=16,
                deepstack_visual_indexes=(0, 1),
            ),
            image_token=IMAGE,
            vision_start=VISION_START,
            vision_end=VISION_END,
            cameras=cameras(first=first),
            primary="front",
        ),
        queries=MetaQueryConfig(
            begin=TEXT_VOCAB_SIZE, end=TEXT_VOCAB_SIZE + 1, first=TEXT_VOCAB_SIZE + 2, count=QUERIES
        ),
        action_expert=ActionExpertConfig(
            state_dim=STATE,
            action_dim=ACTION,
            chunk=CHUNK,
            width=16,
            heads=2,
            layers=2,
            coder_width=24,
            max_chunk=8,
            noise_samples_per_chunk=2,
            flow_steps=3,
        ),
        world_expert=WorldExpertConfig(
            latent_channels=8,
            latent_size=4,
            layers=2,
            heads=2,
            head_width=8,
            cross_heads=2,
            connector=ConnectorConfig(mlp=4 * WIDTH, head_width=64, out=24),
            flow_steps=2,
            sampling_shift=3.0,
            guidance=3.0,
        ),
        codec=codec(),
    )


def codec() -> ImageCodecConfig:
    return ImageCodecConfig(
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(16, 32),
        decoder_block_out_channels=(16, 32),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        scaling_factor=0.41407,
    )


def prompt_config(*, language: bool, **fields: Any) -> ChatPromptConfig:
    return ChatPromptConfig(**{"queries": QUERIES, "language": language, "history": 2, **fields})


def model(*, first: bool = False, seed: int = 0) -> WLA:
    """Random, with weights large enough that positions, images and words all change what comes out."""
    torch.manual_seed(seed)
    built = WLA(model_config(first=first)).eval()
    with torch.no_grad():
        for parameter in built.backbone.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    return built


def statistics() -> Statistics:
    def of(low: float, high: float, dim: int) -> VectorStatistics:
        return VectorStatistics(min=(low,) * dim, max=(high,) * dim)

    return Statistics(state=of(-1.0, 1.0, STATE), action=of(-0.1, 0.1, ACTION))


def checkpoint(*, language: bool = False, first: bool = False, seed: int = 0) -> Checkpoint:
    """plain with an image of the past, or `language`, or both with the `first` frame."""
    built = model(first=first, seed=seed)
    config = CheckpointConfig(model=built.config, prompt=prompt_config(language=language))
    own = PolicyRobot(spec=robot(limits=(-0.1, 0.1), size=(64, 64)), statistics=statistics())
    return Checkpoint(config, built, (own,), tokenizer())


def observation(seed: int = 0) -> Observation:
    rng = np.random.default_rng(seed)
    images = {name: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for name in ("front", "wrist")}
    return Observation(images=images, state=rng.uniform(-1, 1, STATE).astype(np.float32))


def write_json(path: Path, tree: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(tree), encoding="utf-8")


def write_vlm(folder: Path, section: dict[str, Any], core: Tokenizer | None = None) -> Path:
    """A folder as that of a Qwen3-VL model: config.json and tokenizer.json."""
    write_json(folder / "config.json", {"architectures": ["Qwen3VLForConditionalGeneration"], **section})
    (folder / "tokenizer.json").write_text((core or qwen_core()).to_str(), encoding="utf-8")
    return folder


def write_sana(folder: Path, transformer: dict[str, Any], vae: dict[str, Any]) -> Path:
    """A folder as that of a Sana pipeline, without weights."""
    write_json(folder / "transformer" / "config.json", {"_class_name": "SanaTransformer2DModel", **transformer})
    write_json(folder / "vae" / "config.json", {"_class_name": "AutoencoderDC", **vae})
    write_json(
        folder / "scheduler" / "scheduler_config.json",
        {"_class_name": "DPMSolverMultistepScheduler", "flow_shift": 3.0, "use_flow_sigmas": True},
    )
    return folder
