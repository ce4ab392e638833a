"""Names of weights in the published layout of WLA-0, and our names of the same tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_RULES: tuple[tuple[str, str], ...] = (
    (r"backbone\.model\.", "model.mllm_backbone.model."),
    (r"world_expert\.sana\.", "model.world_expert."),
    (r"world_expert\.connector\.layers\.", "model.connector.0.layers."),
    (r"world_expert\.connector\.project\.0\.", "model.connector.1."),
    (r"world_expert\.connector\.project\.2\.", "model.connector.3."),
    (r"world_expert\.connector\.out_norm\.", "model.connector.4."),
    (r"action_expert\.state_encoder\.0\.", "model.action_expert.state_encoder.layer1."),
    (r"action_expert\.state_encoder\.2\.", "model.action_expert.state_encoder.layer2."),
    (r"action_expert\.action_encoder\.", "model.action_expert.action_encoder.layer1."),
    (r"action_expert\.time_mixer\.0\.", "model.action_expert.action_encoder.layer2."),
    (r"action_expert\.time_mixer\.2\.", "model.action_expert.action_encoder.layer3."),
    (r"action_expert\.positions$", "model.action_expert.position_embedding.weight"),
    (r"action_expert\.final_norm\.", "model.action_expert.model.norm_out."),
    (r"action_expert\.decoder\.0\.", "model.action_expert.action_decoder.layer1."),
    (r"action_expert\.decoder\.2\.", "model.action_expert.action_decoder.layer2."),
    (r"action_expert\.blocks\.", "model.action_expert.model.transformer_blocks."),
    (r"codec\.vae\.", "vae."),
)
_CONNECTOR_LAYER = {
    "attention_norm.": "input_layernorm.",
    "mlp_norm.": "post_attention_layernorm.",
    "query_norm.weight": "self_attn.q_norm.gamma",
    "key_norm.weight": "self_attn.k_norm.gamma",
    "query.": "self_attn.q_proj.",
    "key.": "self_attn.k_proj.",
    "value.": "self_attn.v_proj.",
    "attention_out.": "self_attn.o_proj.",
    "gate.": "mlp.gate_proj.",
    "up.": "mlp.up_proj.",
    "down.": "mlp.down_proj.",
}
_ACTION_BLOCK = {
    "attention.query.": "attn1.to_q.",
    "attention.key.": "attn1.to_k.",
    "attention.value.": "attn1.to_v.",
    "attention.out.": "attn1.to_out.0.",
    "mlp.0.": "ff.net.0.proj.",
    "mlp.2.": "ff.net.2.",
}
_NESTED_NAMES = {
    "model.connector.0.layers.": _CONNECTOR_LAYER,
    "model.action_expert.model.transformer_blocks.": _ACTION_BLOCK,
}
CODEC = "vae."
LM_HEAD = "model.mllm_backbone.lm_head.weight"
EMBEDDING = "model.mllm_backbone.model.language_model.embed_tokens.weight"
_TIME = "model.action_expert.model.timestep_encoder.timestep_embedder"
TIME_FEATURES = 256


def published_name(ours: str) -> str:
    """Returns the published name of one of our weights. ValueError for a weight outside of the published layout."""
    for pattern, prefix in _RULES:
        if match := re.match(pattern, ours):
            rest = ours[match.end() :]
            if prefix not in _NESTED_NAMES:
                return prefix + rest
            layer, _, inner = rest.partition(".")
            for our_prefix, their_prefix in _NESTED_NAMES[prefix].items():
                if inner.startswith(our_prefix):
                    return f"{prefix}{layer}.{their_prefix}{inner[len(our_prefix) :]}"
    raise ValueError(f"{ours}: the published layout has no such weight; only WLA-0 models can be exported")


def published_names(ours: Iterable[str]) -> dict[str, str]:
    """Returns a mapping of published names to our names."""
    return {published_name(key): key for key in ours}


def passthrough_shapes(width: int) -> Mapping[str, tuple[int, ...]]:
    """Returns names and shapes of published weights that no computation uses; an export writes them unchanged."""
    return {
        f"{_TIME}.linear_1.weight": (width, TIME_FEATURES),
        f"{_TIME}.linear_1.bias": (width,),
        f"{_TIME}.linear_2.weight": (width, width),
        f"{_TIME}.linear_2.bias": (width,),
    }
