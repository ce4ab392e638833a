"""Text layers of Chameleon (arXiv 2405.09818), from transformers: each head's queries and keys are layer-normed."""

from __future__ import annotations

from transformers import ChameleonConfig, ChameleonModel

from wla.models import attention
from wla.models.backbones.configs import TextSizes


def chameleon_decoder(sizes: TextSizes) -> ChameleonModel:
    """Causal text layers of these sizes with random weights, without the library's image tokenizer."""
    # The library builds the tokenizer with the layers; the smallest one, since it is dropped.
    unused = {
        "embed_dim": 1,
        "num_embeddings": 1,
        "latent_channels": 32,
        "base_channels": 32,
        "channel_multiplier": [1],
        "num_res_blocks": 0,
        "attn_type": "none",
    }
    model = ChameleonModel(
        ChameleonConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.width,
            intermediate_size=sizes.mlp,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.groups,
            rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
            vocabulary_map={},
            vq_config=unused,
            attn_implementation=attention.NAME,
        )
    )
    del model.vqmodel
    return model
