"""Initial weights of a policy from a pretrained nano backbone and a codec."""

from __future__ import annotations

from collections.abc import Sequence

from wla.data.prompts.tokenizer import extend_tokenizer
from wla.models.backbone_policy import BackbonePolicy
from wla.models.configs import BackbonePolicyConfig
from wla.models.model import require_model
from wla.models.model_config import PolicyModelConfig, require_config
from wla.training.objectives.auxiliary_grounding import AuxiliaryGrounding
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromBackbone
from wla.training.objectives.pretrained_backbone import adapt_cameras, load_backbone
from wla.training.objectives.pretrained_codec import model_with_codec


def initialize(init: FromBackbone, config: PolicyModelConfig, texts: Sequence[str]) -> Initialization:
    """texts: those of the datasets, for which the backbone's tokenizer gets tokens as far as it has room. The
    cameras may be others than those of pretraining, see `adapt_cameras`. ValueError when backbone or codec are
    absent or of other sizes."""
    own = require_config(config, BackbonePolicyConfig, "init.backbone")
    pretrained = load_backbone(init.backbone)
    if pretrained.config.backbone.replace(cameras=own.backbone.cameras) != own.backbone:
        raise ValueError(f"{init.backbone}: this backbone has other sizes than the recipe's; train the backbone again")
    model = require_model(model_with_codec(own, init.codec), BackbonePolicy, "init.backbone")
    model.backbone.load_state_dict(adapt_cameras(pretrained.backbone, own.backbone.cameras))
    tokenizer = extend_tokenizer(pretrained.prompter.tokenizer, texts, size=own.backbone.text_sizes.vocabulary)
    if init.grounding is None:
        return Initialization(model, pretrained.config.prompt, tokenizer)
    if pretrained.config.backbone.cameras != own.backbone.cameras:
        raise ValueError(
            f"init.grounding: the scenes of {init.backbone} have the cameras {pretrained.config.backbone.cameras}, "
            f"the recipe's model {own.backbone.cameras}; leave grounding out"
        )
    grounding = AuxiliaryGrounding(model.backbone, pretrained.grounding(), init.grounding)
    # The state keeps the backbone's range, or its location tokens would change their meaning. A robot with another
    # state has a range of its own.
    state = pretrained.statistics.state
    same_state = state.dim == own.interface.state_dim
    return Initialization(
        model, pretrained.config.prompt, tokenizer, state if same_state else None, grounding=grounding
    )
