"""Options of every command that acts with a policy: how its actions are sampled, and by which code."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from wla.config import Config
from wla.hardware import Precision


class InferenceOptions(Config):
    """Arguments of `load_policy` that commands have in common."""

    flow_steps: int | None = Field(default=None, ge=1, le=1000)
    """Integration steps of the actions; chosen by the policy when left out."""
    action_noise: float | None = Field(default=None, ge=0, le=10)
    """Standard deviation of the noise that the actions start from: 1 draws from all that was learned, 0 acts in its
    middle; chosen by the policy when left out."""
    fast: bool = False
    """Act by compiled functions: the same answers up to rounding, in less time. They are compiled once and kept, unless
    the checkpoint has a package of them."""
    precision: Precision = "float32"
    """With --fast: of matrix products. bfloat16 takes less time on processors that have such products; actions differ
    by more than rounding (docs/guides/speed.md)."""
    trust_code: bool = False
    """With --fast and a checkpoint of the hub: run the compiled code that it holds."""

    @property
    def inference(self) -> dict[str, Any]:
        """These arguments by name."""
        return {name: getattr(self, name) for name in InferenceOptions.model_fields}

    def require_here(self, policy: str) -> None:
        """ValueError where something else than a checkpoint, such as a server, is to act in this way."""
        asked = {name for name, value in self.inference.items() if value != InferenceOptions.model_fields[name].default}
        if asked - {"trust_code"}:
            raise ValueError(
                f"{policy}: --fast, --precision, --flow-steps and --action-noise are for checkpoints (a server has its "
                "own options)"
            )
