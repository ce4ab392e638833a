"""The part of a policy that reinforcement learning trains: its Action Expert, and the choice of flow steps."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from wla.models.action_expert_policy import ActionExpertPolicy
from wla.models.experts.action_expert import ActionExpert
from wla.models.model import require_model
from wla.policy import Checkpoint
from wla.policy.hub import fetch_checkpoint
from wla.training.rl.configs import PPOConfig, RLTrainConfig
from wla.training.rl.value_network import ValueNetwork

SCALE = 200.0
"""Of the logits, because the learning rates suit the weights of a network: at 5e-5 a step moves a logit by 0.01."""


class StepChoice(nn.Module):
    """Probabilities of some numbers of flow steps, of which each call of the policy draws one; all alike at first."""

    def __init__(self, choices: tuple[int, ...]) -> None:
        super().__init__()
        self.choices = choices
        self.weights = nn.Parameter(torch.zeros(len(choices)))

    @property
    def most_likely(self) -> int:
        """The number of steps to act with when training is done."""
        return self.choices[int(self.weights.argmax())]

    @torch.no_grad()
    def draw(self, uniform: Float[Tensor, " B"]) -> Int64[Tensor, " B"]:
        """Numbers of steps that follow from numbers in [0, 1)."""
        bounds = self._log_probabilities().exp().cumsum(0)[:-1]
        return torch.tensor(self.choices, device=bounds.device)[torch.bucketize(uniform, bounds, right=True)]

    def log_prob(self, num_steps: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Log-probabilities of drawn numbers of steps."""
        choices = torch.tensor(self.choices, device=num_steps.device)
        return self._log_probabilities()[(num_steps[:, None] == choices).int().argmax(1)]

    def metrics(self) -> dict[str, float]:
        """The probability of each number of steps, for the log."""
        probabilities = self._log_probabilities().exp().tolist()
        return {f"steps_{number}_fraction": each for number, each in zip(self.choices, probabilities, strict=True)}

    def _log_probabilities(self) -> Float[Tensor, " N"]:
        return (SCALE * self.weights).log_softmax(0)


class Trained(nn.Module):
    """step_choice: None where the number of steps is the policy's own. value: None but for PPO."""

    def __init__(self, action_expert: ActionExpert, config: RLTrainConfig) -> None:
        super().__init__()
        self.action_expert = action_expert
        self.step_choice = None if config.speed is None else StepChoice(config.speed.flow_steps)
        self.value = ValueNetwork(action_expert) if isinstance(config.objective, PPOConfig) else None


def load_trained(config: RLTrainConfig) -> tuple[Checkpoint, Trained]:
    """The policy of a recipe, and what is trained of it: all else stays as it is. ValueError for a model without an
    Action Expert."""
    checkpoint = fetch_checkpoint(config.policy)
    model = require_model(checkpoint.model, ActionExpertPolicy, f"policy {config.policy}").requires_grad_(False)
    return checkpoint, Trained(model.action_expert, config)
