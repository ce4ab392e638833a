"""Published configuration of WLA-0 and of the two library models it consists of -> our `WLAConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wla.compat.published_keys import EMBEDDING
from wla.files import read_json
from wla.models.backbones.configs import MetaQueryConfig, QwenBackboneConfig, QwenTextConfig, QwenVisionConfig
from wla.models.configs import ImageCodecConfig, WLAConfig
from wla.models.experts.configs import ActionExpertConfig, ActionTimeConfig, ConnectorConfig, WorldExpertConfig
from wla.weights import Shapes

WLA, VLM, SANA, CODEC = "wla", "qwen3_vl", "sana", "autoencoder_dc"
NUM_MARKERS = 2
"""Begin and end marker, the first of the added vocabulary entries."""
CONNECTOR_HEAD_DIM = 64

FIXED: dict[str, dict[str, Any]] = {
    "text_config": {"hidden_act": "silu", "attention_bias": False, "tie_word_embeddings": True},
    "vision_config": {"hidden_act": "gelu_pytorch_tanh"},
    "rope": {"rope_type": "default", "mrope_interleaved": True},
    SANA: {
        "patch_size": 1,
        "attention_bias": False,
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
        "guidance_embeds": False,
        "qk_norm": None,
        "timestep_scale": 1.0,
    },
    "diffusion_model_cfg": {"norm_type": "norm", "interleave_self_attention": True, "positional_embeddings": None},
    WLA: {"add_pos_embed": True, "action_condition_type": "no_action_condition"},
}
"""Fields with only one supported value, by part of the configuration; another value means another computation."""


class Sections(dict[str, dict[str, Any]]):
    """Four parts of a published configuration: `wla`, `qwen3_vl`, `sana`, `autoencoder_dc`."""


def read_sections(checkpoint: Path, vlm: Path | None, sana: Path | None) -> Sections:
    """Reads the configuration of a published checkpoint.

    Args:
        checkpoint: folder with config.json.
        vlm: folder of the Qwen3-VL model, whose configuration replaces the checkpoint's.
        sana: folder of the Sana model, likewise.

    Raises:
        ValueError: a file or section is missing or damaged.
    """
    own = read_json(checkpoint / "config.json")
    sections = Sections({name: own[name] for name in (WLA, VLM, SANA, CODEC) if name in own})
    sections.setdefault(WLA, own)
    if vlm is not None:
        sections[VLM] = read_json(vlm / "config.json")
    if sana is not None:
        sections[SANA] = read_json(sana / "transformer" / "config.json")
        if not (sana / "vae" / "config.json").is_file():
            raise ValueError(f"{sana}: contains no image codec (vae/config.json); give the whole Sana folder")
        sections[CODEC] = read_json(sana / "vae" / "config.json")
        scheduler = sana / "scheduler" / "scheduler_config.json"
        if scheduler.is_file():
            sections[SANA] = {**sections[SANA], "flow_shift": read_json(scheduler).get("flow_shift", 1.0)}
    for name, option in ((VLM, "--vlm"), (SANA, "--sana"), (CODEC, "--sana")):
        if name not in sections:
            raise ValueError(f"{checkpoint}: its config.json has no {name!r}; give the folder or hub id with {option}")
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ValueError(f"{checkpoint}: {name!r} of its config.json is not a JSON object; copy it again")
    return sections


def model_config(sections: Sections, shapes: Shapes, *, cameras: Mapping[str, int], primary: str) -> WLAConfig:
    """Returns the configuration of the model.

    Args:
        sections: published configuration.
        shapes: of the checkpoint's weights, which determine the size of the vocabulary.
        cameras: images of the prompt, see `QwenBackboneConfig`.
        primary: see `QwenBackboneConfig`.

    Raises:
        ValueError: a field is missing, invalid or not supported.
    """
    wla, sana = sections[WLA], sections[SANA]
    try:
        _require_fixed(sections)
        backbone = _backbone(sections[VLM], shapes, cameras, primary)
        width = backbone.text.hidden_size
        count = wla["num_metaqueries"]
        begin = wla.get("boi", backbone.text.vocab_size - count - NUM_MARKERS)
        last = begin + NUM_MARKERS + count
        if wla.get("eoi", begin + 1) != begin + 1 or last > backbone.text.vocab_size:
            raise ValueError(
                f"published configuration: markers and {count} queries from token {begin} do not fit eoi "
                f"{wla.get('eoi', begin + 1)} and {backbone.text.vocab_size} tokens; give the files of one release"
            )
        return WLAConfig(
            backbone=backbone,
            queries=MetaQueryConfig(begin=begin, end=begin + 1, first=begin + NUM_MARKERS, count=count),
            action_expert=_action_expert(wla, shapes),
            world_expert=WorldExpertConfig(
                latent_channels=sana["in_channels"],
                latent_size=sana["sample_size"],
                layers=sana["num_layers"],
                heads=sana["num_attention_heads"],
                head_width=sana["attention_head_dim"],
                cross_heads=sana["num_cross_attention_heads"],
                mlp_ratio=sana.get("mlp_ratio", 2.5),
                interpolation_scale=sana.get("interpolation_scale"),
                sampling_shift=sana.get("flow_shift", 1.0),
                guidance=3.0,
                connector=ConnectorConfig(
                    layers=wla["connector_num_hidden_layers"],
                    mlp=4 * width,
                    head_width=CONNECTOR_HEAD_DIM,
                    out=sana["caption_channels"],
                ),
            ),
            codec=ImageCodecConfig(
                **{name: sections[CODEC][name] for name in ImageCodecConfig.model_fields if name in sections[CODEC]}
            ),
        )
    except KeyError as error:
        raise ValueError(
            f"published configuration: {error} is missing; give the folders of the same release"
        ) from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"published configuration: a value has the wrong type ({error}); copy it again") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"published configuration: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _require_fixed(sections: Sections) -> None:
    """Raises ValueError for a configuration of a computation that is not WLA-0's."""
    text, vision, sana = sections[VLM]["text_config"], sections[VLM]["vision_config"], sections[SANA]
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    blocks = sections[WLA]["diffusion_model_cfg"]
    parts = (text, vision, rope, sana, blocks, sections[WLA])
    for (part, fixed), given in zip(FIXED.items(), parts, strict=True):
        for name, expected in fixed.items():
            if given.get(name, expected) != expected:
                raise ValueError(
                    f"published configuration: {part}.{name} is {given[name]!r}, WLA-0 has {expected!r}; this is "
                    "another model"
                )
    width = sana["num_attention_heads"] * sana["attention_head_dim"]
    cross_width = sana["num_cross_attention_heads"] * sana.get("cross_attention_head_dim", 0)
    if {width, cross_width or width, sana.get("cross_attention_dim", width)} != {width}:
        raise ValueError(
            f"published configuration: {SANA} has width {width}, its cross-attention another; they are equal in WLA-0"
        )


def _backbone(tree: dict[str, Any], shapes: Shapes, cameras: Mapping[str, int], primary: str) -> QwenBackboneConfig:
    text, vision = tree["text_config"], tree["vision_config"]
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if EMBEDDING not in shapes:
        raise ValueError(f"the checkpoint has no {EMBEDDING}; give a WLA-0 checkpoint")
    fields = {name: text[name] for name in QwenTextConfig.model_fields if name in text}
    fields |= {name: rope[name] for name in ("rope_theta", "mrope_section") if name in rope}
    return QwenBackboneConfig(
        text=QwenTextConfig(**{**fields, "vocab_size": shapes[EMBEDDING][0]}),
        vision=QwenVisionConfig(**{name: vision[name] for name in QwenVisionConfig.model_fields if name in vision}),
        image_token=tree["image_token_id"],
        vision_start=tree["vision_start_token_id"],
        vision_end=tree["vision_end_token_id"],
        cameras=dict(cameras),
        primary=primary,
    )


def _action_expert(wla: dict[str, Any], shapes: Shapes) -> ActionExpertConfig:
    blocks = wla["diffusion_model_cfg"]
    coder_width = shapes.get("model.action_expert.state_encoder.layer1.bias", (1024,))[0]
    heads, head_width = blocks.get("num_attention_heads", 32), blocks.get("attention_head_dim", 32)
    width = blocks.get("input_embedding_dim", heads * head_width)
    if width != heads * head_width:
        raise ValueError(
            f"published configuration: diffusion_model_cfg has {heads} heads of {head_width} for a width of {width}; "
            "their product is the width in WLA-0"
        )
    return ActionExpertConfig(
        state_dim=wla["max_state_dim"],
        action_dim=wla["max_action_dim"],
        chunk=wla["chunk_size"],
        width=width,
        heads=heads,
        layers=blocks["num_layers"],
        coder_width=coder_width,
        max_chunk=wla["max_seq_len"],
        noise_samples_per_chunk=wla.get("repeated_diffusion_steps", 16),
        flow_steps=wla.get("num_inference_timesteps", 32),
        time=ActionTimeConfig(
            alpha=wla["noise_beta_alpha"],
            beta=wla["noise_beta_beta"],
            scale=wla["noise_s"],
            buckets=wla["num_timestep_buckets"],
        ),
    )
