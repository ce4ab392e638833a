"""LeRobot's processors around a wla policy: names, batch dimension and device. Units are the policy's own matter."""

from __future__ import annotations

from typing import Any

import torch
from lerobot.lerobot_types import PolicyAction
from lerobot.processor import PolicyProcessorPipeline, make_default_pre_post_processors

from lerobot_policy_wla.configuration_wla import WlaConfig

Pipelines = tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]


def make_wla_pre_post_processors(
    config: WlaConfig, dataset_stats: dict[str, dict[str, torch.Tensor]] | None = None
) -> Pipelines:
    """The usual pipelines of LeRobot's policies. Their normalisation is IDENTITY (see `WlaConfig`); it is `WlaPolicy`
    that normalises, by `dataset_stats` where it is new."""
    before, after = make_default_pre_post_processors(config, dataset_stats, normalizer_device=config.device)
    return before, after
