"""The folder of a policy in ONNX: a graph for each function, the tokenizer, and what connects them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from wla.config import Config
from wla.data import ActionRepresentationConfig, NormalizationConfig
from wla.data.prompts.configs import PromptConfig
from wla.models.configs import WLAConfig
from wla.policy.robots import PolicyRobot

POLICY, TOKENIZER, TIMES = "policy.json", "tokenizer.json", "times.npy"
"""TIMES: what each time level adds in front of the first nonlinearity of a step, (levels, width)."""
GRAPHS = ("read_prompt", "read_text", "next_tokens", "start_sampling", "sample_step")
"""Functions, each in NAME.onnx: see `wla.runtime_onnx.reading_graphs` and `wla.models.inference.sampling`."""


class OnnxPolicyConfig(Config):
    """Content of `POLICY`."""

    model: WLAConfig
    prompt: PromptConfig
    robot: PolicyRobot
    normalization: NormalizationConfig = NormalizationConfig()
    action_representation: ActionRepresentationConfig = ActionRepresentationConfig()
    replan_steps: int | None = Field(default=None, ge=1)
    action_noise: float = Field(default=1.0, ge=0.0)
    max_text_tokens: int = Field(default=48, ge=1)
    """Longest text that is generated at a call."""
    checkpoint_sha256: str = ""
    """Identity of the checkpoint that was exported."""


def graph(folder: Path, name: str) -> Path:
    """File of a function's graph."""
    return folder / f"{name}.onnx"
