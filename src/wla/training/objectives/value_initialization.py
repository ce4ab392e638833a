"""A value model before its first step: the backbone of a policy, and a new head."""

from __future__ import annotations

from wla.data.prompts.configs import PromptConfig
from wla.models.backbones.configs import NanoBackboneConfig
from wla.models.configs import ValueConfig
from wla.models.model import require_model
from wla.models.value_model import ValueModel
from wla.models.wla import WLA
from wla.policy.hub import fetch_checkpoint
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig


def value_of(policy: str, discount: float) -> ValueCheckpoint:
    """A value model on the policy's backbone. ValueError for a policy without nano's backbone and prompts."""
    checkpoint = fetch_checkpoint(policy, imagination=False)
    known = require_model(checkpoint.model, WLA, f"policy {policy}")
    prompt, backbone, tokenizer = checkpoint.config.prompt, known.config.backbone, checkpoint.tokenizer
    # A value model is built of nano's parts only: its configuration has no other types.
    if not (isinstance(prompt, PromptConfig) and isinstance(backbone, NanoBackboneConfig) and tokenizer is not None):
        raise ValueError(f"policy {policy}: value models are made of nano's backbone so far")
    sizes = backbone.replace(cameras={backbone.primary: backbone.cameras[backbone.primary]})
    model = ValueModel(ValueConfig(backbone=sizes, discount=discount))
    weights = known.backbone.state_dict()
    model.backbone.load_state_dict({key: weights[key] for key in model.backbone.state_dict()})
    file = ValueCheckpointConfig(model=model.config, prompt=prompt.replace(language=False))
    return ValueCheckpoint(file, model, tokenizer)
