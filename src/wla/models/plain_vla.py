"""A vision-language-action model without a world objective: the baseline of every way to join world and action."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from wla.models.action_expert_policy import ActionExpertPolicy
from wla.models.model import Target
from wla.models.variant_configs import PlainVLAConfig


class PlainVLA(ActionExpertPolicy):
    """Backbone, meta-queries and Action Expert; it learns from no later image and predicts none."""

    config: PlainVLAConfig
    loss_targets: ClassVar[Mapping[str, Target]] = {"action": "actions", "language": "text"}
    parts: ClassVar[Mapping[str, str]] = {"backbone": "backbone.", "Action Expert": "action_expert."}
