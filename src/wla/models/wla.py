"""The world-language-action model: one backbone reads, meta-queries gather the dynamics, two experts read the queries.

It is the built-in kind of `wla.models.model.PolicyModel`: three losses, generated text and predicted images. The World
Expert shapes the states of the queries by its gradient and takes no part in acting.
"""

from __future__ import annotations

from typing import ClassVar

from wla.models.configs import WLAConfig
from wla.models.world_expert_policy import WorldExpertPolicy


class WLA(WorldExpertPolicy):
    """`imagination=False` builds the model without World Expert and codec, which acting does not need."""

    config: WLAConfig
    imagination_parts: ClassVar[tuple[str, ...]] = ("world_expert.", "codec.")
