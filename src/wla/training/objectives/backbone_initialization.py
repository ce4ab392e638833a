"""Initial parts of a backbone in pretraining: new ones, or those of a finished policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from wla.data.lerobot.reader import LeRobotDataset
from wla.data.normalize import Statistics, compute_statistics
from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.kinds import extended_tokenizer
from wla.data.prompts.tokenizer import train_tokenizer
from wla.models.backbone_policy import BackbonePolicy
from wla.models.backbones.configs import NanoBackboneConfig
from wla.models.backbones.nano import NanoBackbone
from wla.models.model import require_model
from wla.policy.hub import fetch_checkpoint


class BackboneParts(NamedTuple):
    """A backbone, its tokenizer, and the statistics that prompts are normalised with."""

    backbone: NanoBackbone
    tokenizer: PreTrainedTokenizerFast
    statistics: Statistics


def new_backbone(
    config: NanoBackboneConfig, prompt: PromptConfig, texts: Sequence[str], datasets: Sequence[LeRobotDataset]
) -> BackboneParts:
    """Random weights, and a tokenizer that is trained on the texts."""
    backbone = NanoBackbone(config)
    tokenizer = train_tokenizer(texts, queries=prompt.queries, locations=prompt.locations, size=config.vocabulary)
    return BackboneParts(backbone, tokenizer, compute_statistics(datasets))


def backbone_of(policy: str, config: NanoBackboneConfig, texts: Sequence[str]) -> BackboneParts:
    """The policy's backbone and statistics, and its tokenizer extended for the texts. ValueError for other sizes."""
    backbone = NanoBackbone(config)
    before = fetch_checkpoint(policy, imagination=False)
    model = require_model(before.model, BackbonePolicy, f"policy {policy}")
    if model.config.backbone != config or before.tokenizer is None:
        raise ValueError(f"policy {policy} has another backbone than the recipe; correct one")
    backbone.load_state_dict(model.backbone.state_dict())
    tokenizer = extended_tokenizer(before.tokenizer, texts, size=config.vocabulary)
    return BackboneParts(backbone, tokenizer, before.robot.statistics)  # location tokens keep their meaning
