"""Our `WLAConfig` -> the published configuration of WLA-0: the inverse of `published_config`."""

from __future__ import annotations

from typing import Any

from wla.compat.published_config import CODEC, SANA, VLM, WLA, Sections, model_config
from wla.config import Config
from wla.data.prompts.configs import ChatPromptConfig
from wla.models.backbones.configs import QwenBackboneConfig
from wla.models.configs import WLAConfig
from wla.models.experts.configs import WorldExpertConfig
from wla.policy.checkpoint import CheckpointConfig
from wla.types import ImageKey
from wla.weights import Shapes

UNPUBLISHED_FIELDS = (
    "max_world_samples",
    "world_expert.flow_steps",
    "world_expert.guidance",
    "world_expert.timestep_shift",
)
"""Fields of training and sampling that the published layout does not contain."""


def sections_of(config: WLAConfig) -> Sections:
    """Returns the published configuration of a model: the inverse of `model_config`.

    Raises:
        ValueError: the model's backbone is not Qwen3-VL.
    """
    backbone = config.backbone
    if not isinstance(backbone, QwenBackboneConfig):
        raise ValueError("only models with the Qwen3-VL backbone have a published layout")
    return Sections(
        {
            WLA: _wla_section(config, backbone),
            VLM: _vlm_section(backbone),
            SANA: _sana_section(config.world_expert),
            CODEC: config.codec.model_dump(mode="json", exclude={"levels"}),
        }
    )


def prompt_settings(config: CheckpointConfig) -> dict[str, Any]:
    """Returns the prompt's fields of the `wla` section, so that an import restores the same prompt."""
    assert isinstance(config.prompt, ChatPromptConfig)
    times = {ImageKey.parse(name).time for name in config.model.interface.images}
    return {
        "training_mode": "image_action_language" if config.prompt.language else "image_action",
        "use_history_obs": "history" in times,
        "history_obs_step": config.prompt.history,
        "use_begin_frame_context": "first" in times,
    }


def require_exportable(config: WLAConfig, sections: Sections, shapes: Shapes) -> None:
    """Checks that `sections` determine the model, by reading them back.

    Args:
        config: model to export.
        sections: its published configuration.
        shapes: of its weights, by their published names.

    Raises:
        ValueError: the published layout cannot express a field of the model.
    """
    backbone, expert = config.backbone, config.action_expert
    assert isinstance(backbone, QwenBackboneConfig)
    restored = model_config(sections, shapes, cameras=backbone.cameras, primary=backbone.primary)
    explicit = expert.replace(
        coder_width=expert.coder_width or expert.width, max_chunk=expert.max_chunk or expert.chunk
    )
    ours, theirs = _leaves(config.replace(action_expert=explicit)), _leaves(restored)
    lost = [name for name, value in ours.items() if name not in UNPUBLISHED_FIELDS and theirs.get(name) != value]
    if lost:
        raise ValueError(
            f"the published layout cannot express {lost[0]} = {ours[lost[0]]!r}; only WLA-0 models can be exported"
        )


def _wla_section(config: WLAConfig, backbone: QwenBackboneConfig) -> dict[str, Any]:
    expert, world = config.action_expert, config.world_expert
    return {
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
    }


def _vlm_section(backbone: QwenBackboneConfig) -> dict[str, Any]:
    text = backbone.text.model_dump(mode="json", exclude={"mrope_section"})
    rope = {"rope_type": "default", "mrope_section": list(backbone.text.mrope_section), "mrope_interleaved": True}
    return {
        "text_config": {**text, "tie_word_embeddings": True, "rope_scaling": rope},
        "vision_config": backbone.vision.model_dump(mode="json"),
        "image_token_id": backbone.image_token,
        "vision_start_token_id": backbone.vision_start,
        "vision_end_token_id": backbone.vision_end,
        "tie_word_embeddings": True,
    }


def _sana_section(world: WorldExpertConfig) -> dict[str, Any]:
    width = world.heads * world.head_width
    return {
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
    }


def _leaves(config: Config) -> dict[str, Any]:
    """Returns the values of a configuration by their dotted paths."""
    leaves: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        inner = (
            {f".{path}": leaf for path, leaf in _leaves(value).items()} if isinstance(value, Config) else {"": value}
        )
        leaves |= {name + path: leaf for path, leaf in inner.items()}
    return leaves
