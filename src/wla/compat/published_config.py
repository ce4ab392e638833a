"""The published configuration of WLA-0 and of the two library models it is made of -> our `WLAConfig`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wla.compat.published_keys import EMBEDDING
from wla.config import Config
from wla.files import read_json
from wla.models.backbones.qwen3_vl import QwenBackboneConfig, QwenTextConfig, QwenVisionConfig
from wla.models.experts.action_expert import ActionExpertConfig
from wla.models.experts.connector import ConnectorConfig
from wla.models.experts.world_expert import WorldExpertConfig
from wla.models.flow import ActionTimeConfig
from wla.models.image_codec import ImageCodecConfig
from wla.models.wla import MetaQueryConfig, WLAConfig
from wla.weights import Shapes

WLA, VLM, SANA, CODEC = "wla", "qwen3_vl", "sana", "autoencoder_dc"
NUM_MARKERS = 2
"""Begin and end marker, the first of the new vocabulary entries."""
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
"""What a published configuration may say and is built in here: another value is another computation."""


class Sections(dict[str, dict[str, Any]]):
    """The four parts of a published configuration: `wla`, `qwen3_vl`, `sana`, `autoencoder_dc`."""


def read_sections(checkpoint: Path, vlm: Path | None, sana: Path | None) -> Sections:
    """From the checkpoint's config.json and, for what it does not hold, the folders of the library models.

    ValueError names the file that is missing or damaged.
    """
    own = read_json(checkpoint / "config.json")
    sections = Sections({name: own[name] for name in (WLA, VLM, SANA, CODEC) if name in own})
    sections.setdefault(WLA, own)
    if vlm is not None:
        sections[VLM] = read_json(vlm / "config.json")
    if sana is not None:
        sections[SANA] = read_json(sana / "transformer" / "config.json")
        if not (sana / "vae" / "config.json").is_file():
            raise ValueError(f"{sana}: holds no image codec (vae/config.json); give the whole Sana folder")
        sections[CODEC] = read_json(sana / "vae" / "config.json")
        scheduler = sana / "scheduler" / "scheduler_config.json"
        if scheduler.is_file():
            sections[SANA] = {**sections[SANA], "flow_shift": read_json(scheduler).get("flow_shift", 1.0)}
    for name, option in ((VLM, "--vlm"), (SANA, "--sana"), (CODEC, "--sana")):
        if name not in sections:
            raise ValueError(f"{checkpoint}: its config.json has no {name!r}; give the folder or hub id with {option}")
    for name, section in sections.items():
        if not isinstance(section, dict):
            raise ValueError(f"{checkpoint}: {name!r} of its config.json is no JSON object; copy it again")
    return sections


def model_config(sections: Sections, shapes: Shapes, *, cameras: Mapping[str, int], primary: str) -> WLAConfig:
    """The model of a published configuration. shapes: of the checkpoint's weights, which know the vocabulary.

    cameras, primary: the images of the prompt, see `QwenBackboneConfig`. ValueError names what is not supported.
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
                f"published configuration: markers and {count} queries from word {begin} on do not fit "
                f"eoi {wla.get('eoi', begin + 1)} and {backbone.text.vocab_size} words; give the files of one release"
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
        raise ValueError(f"published configuration: a value is of another kind ({error}); copy it again") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"published configuration: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _require_fixed(sections: Sections) -> None:
    """ValueError when the configuration asks for a computation that is not WLA-0's."""
    text, vision, sana = sections[VLM]["text_config"], sections[VLM]["vision_config"], sections[SANA]
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    blocks = sections[WLA]["diffusion_model_cfg"]
    parts = (text, vision, rope, sana, blocks, sections[WLA])
    for (part, fixed), given in zip(FIXED.items(), parts, strict=True):
        for name, wanted in fixed.items():
            if given.get(name, wanted) != wanted:
                raise ValueError(
                    f"published configuration: {part}.{name} is {given[name]!r}, WLA-0 has {wanted!r}; this is another "
                    "model"
                )
    width = sana["num_attention_heads"] * sana["attention_head_dim"]
    across = sana["num_cross_attention_heads"] * sana.get("cross_attention_head_dim", 0)
    if {width, across or width, sana.get("cross_attention_dim", width)} != {width}:
        raise ValueError(f"published configuration: {SANA} is {width} wide, its cross-attention is not; WLA-0's is")


def _backbone(tree: dict[str, Any], shapes: Shapes, cameras: Mapping[str, int], primary: str) -> QwenBackboneConfig:
    text, vision = tree["text_config"], tree["vision_config"]
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    if EMBEDDING not in shapes:
        raise ValueError(f"the checkpoint has no {EMBEDDING}; is it one of WLA-0?")
    known = {name: text[name] for name in QwenTextConfig.model_fields if name in text}
    known |= {name: rope[name] for name in ("rope_theta", "mrope_section") if name in rope}
    return QwenBackboneConfig(
        text=QwenTextConfig(**{**known, "vocab_size": shapes[EMBEDDING][0]}),
        vision=QwenVisionConfig(**{name: vision[name] for name in QwenVisionConfig.model_fields if name in vision}),
        image_token=tree["image_token_id"],
        vision_start=tree["vision_start_token_id"],
        vision_end=tree["vision_end_token_id"],
        cameras=dict(cameras),
        primary=primary,
    )


def _action_expert(wla: dict[str, Any], shapes: Shapes) -> ActionExpertConfig:
    blocks = wla["diffusion_model_cfg"]
    coder = shapes.get("model.action_expert.state_encoder.layer1.bias", (1024,))[0]
    heads, head = blocks.get("num_attention_heads", 32), blocks.get("attention_head_dim", 32)
    width = blocks.get("input_embedding_dim", heads * head)
    if width != heads * head:
        raise ValueError(
            f"published configuration: diffusion_model_cfg has {heads} heads of {head} for a width of {width}; "
            "their product is the width in WLA-0"
        )
    return ActionExpertConfig(
        state_dim=wla["max_state_dim"],
        action_dim=wla["max_action_dim"],
        chunk=wla["chunk_size"],
        width=width,
        heads=heads,
        layers=blocks["num_layers"],
        coder_width=coder,
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


def sections_of(config: WLAConfig) -> Sections:
    """The published configuration of a model: the inverse of `model_config`."""
    backbone, expert, world = config.backbone, config.action_expert, config.world_expert
    if not isinstance(backbone, QwenBackboneConfig):
        raise ValueError("only models with the Qwen3-VL backbone have a published layout; this one is nano")
    text = backbone.text.model_dump(mode="json", exclude={"mrope_section"})
    rope = {"rope_type": "default", "mrope_section": list(backbone.text.mrope_section), "mrope_interleaved": True}
    width = world.heads * world.head_width
    return Sections(
        {
            WLA: {
                "connector_num_hidden_layers": world.connector.layers,
                "num_metaqueries": config.queries.count,
                "in_channels": world.latent_channels,
                "max_action_dim": expert.action_dim,
                "max_state_dim": expert.state_dim,
                "chunk_size": expert.chunk,
                "num_inference_timesteps": expert.flow_steps,
                "add_pos_embed": True,
                "max_seq_len": expert.max_chunk or expert.chunk,
                "noise_beta_alpha": expert.time.alpha,
                "noise_beta_beta": expert.time.beta,
                "num_timestep_buckets": expert.time.buckets,
                "noise_s": expert.time.scale,
                "repeated_diffusion_steps": expert.noise_samples_per_chunk,
                "diffusion_model_cfg": {
                    "num_layers": expert.layers,
                    "cross_attention_dim": backbone.text.hidden_size,
                    "input_embedding_dim": expert.width,
                    "attention_head_dim": expert.width // expert.heads,
                    "num_attention_heads": expert.heads,
                    "output_dim": expert.width,
                    "interleave_self_attention": True,
                    "norm_type": "norm",
                    "dropout": 0.0,
                    "final_dropout": False,
                    "positional_embeddings": None,
                },
                "boi": config.queries.begin,
                "eoi": config.queries.end,
                "vision_start": backbone.vision_start,
                "vision_end": backbone.vision_end,
            },
            VLM: {
                "text_config": {**text, "tie_word_embeddings": True, "rope_scaling": rope},
                "vision_config": backbone.vision.model_dump(mode="json"),
                "image_token_id": backbone.image_token,
                "vision_start_token_id": backbone.vision_start,
                "vision_end_token_id": backbone.vision_end,
                "tie_word_embeddings": True,
            },
            SANA: {
                "in_channels": world.latent_channels,
                "out_channels": world.latent_channels,
                "num_layers": world.layers,
                "num_attention_heads": world.heads,
                "attention_head_dim": world.head_width,
                "num_cross_attention_heads": world.cross_heads,
                "cross_attention_head_dim": width // world.cross_heads,
                "cross_attention_dim": width,
                "caption_channels": world.connector.out,
                "mlp_ratio": world.mlp_ratio,
                "sample_size": world.latent_size,
                "patch_size": 1,
                "interpolation_scale": world.interpolation_scale,
                "flow_shift": world.sampling_shift,
            },
            CODEC: config.codec.model_dump(mode="json"),
        }
    )


UNPUBLISHED_FIELDS = (
    "max_world_samples",
    "world_expert.flow_steps",
    "world_expert.guidance",
    "world_expert.timestep_shift",
)
"""Fields that decide how a model is trained and sampled; the layout does not write them."""


def require_exportable(config: WLAConfig, sections: Sections, shapes: Shapes) -> None:
    """ValueError when reading `sections` back gives another model. shapes: by their published names."""
    backbone, expert = config.backbone, config.action_expert
    assert isinstance(backbone, QwenBackboneConfig)
    again = model_config(sections, shapes, cameras=backbone.cameras, primary=backbone.primary)
    plain = expert.replace(coder_width=expert.coder_width or expert.width, max_chunk=expert.max_chunk or expert.chunk)
    ours, theirs = _leaves(config.replace(action_expert=plain)), _leaves(again)
    lost = [name for name, value in ours.items() if name not in UNPUBLISHED_FIELDS and theirs.get(name) != value]
    if lost:
        raise ValueError(
            f"the published layout cannot say that {lost[0]} is {ours[lost[0]]!r}; only WLA-0 models can be exported"
        )


def _leaves(config: Config) -> dict[str, Any]:
    """The values of a configuration by their dotted paths."""
    leaves: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        inner = (
            {f".{path}": leaf for path, leaf in _leaves(value).items()} if isinstance(value, Config) else {"": value}
        )
        leaves |= {name + path: leaf for path, leaf in inner.items()}
    return leaves
