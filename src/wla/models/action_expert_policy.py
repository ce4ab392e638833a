"""Policies that act by an Action Expert on a backbone, and the likelihood that reinforcement learning needs of it."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from wla.batch import Batch, TargetRows
from wla.models.backbone_policy import BackboneEncoding, BackbonePolicy, Reading
from wla.models.configs import ActionExpertPolicyConfig
from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.flow_sde import executed_mask, log_density, sample_trajectory, step_distribution
from wla.models.model import RecomputedPart
from wla.models.trajectory import ActionEncoding, Trajectory


class ActionExpertPolicy(BackbonePolicy):
    """Base of the models whose chunks an `ActionExpert` samples.

    condition_width: of the states that it reads; None for the backbone's.
    """

    config: ActionExpertPolicyConfig
    optional_weights: ClassVar[frozenset[str]] = frozenset({"action_expert.one_step"})

    def __init__(self, config: ActionExpertPolicyConfig, *, condition_width: int | None = None) -> None:
        super().__init__(config)
        self.action_expert = ActionExpert(config.action_expert, condition_width or self.backbone.width)

    def enable_activation_checkpointing(self, parts: Collection[RecomputedPart] | None = None) -> None:
        super().enable_activation_checkpointing(parts)
        if parts is None or "action_expert" in parts:
            self.action_expert.activation_checkpointing = True

    @property
    def layers_read(self) -> int:
        return self.config.action_expert.layers

    def query_losses(
        self, batch: Batch, rows: TargetRows, reading: Reading, generator: torch.Generator | None
    ) -> dict[str, Float[Tensor, ""]]:
        """The term `action`."""
        if not len(has := rows.actions):
            return {}
        return {"action": self.action_loss(batch, has, [layer[has] for layer in reading.query_hidden], generator)}

    def action_loss(
        self,
        batch: Batch,
        has: Int64[Tensor, " N"],
        states: list[Float[Tensor, "N K E"]],
        generator: torch.Generator | None,
        mask: Bool[Tensor, "B n A"] | None = None,
    ) -> Float[Tensor, ""]:
        """The Action Expert's loss on the samples `has`, of which it reads these states. mask: the actions that count,
        fewer than those that are known (None: all of them)."""
        dims = None if batch.action_dims is None else batch.action_dims[has]
        known = batch.action_mask if mask is None else mask
        return self.action_expert.loss(states, batch.state[has], batch.actions[has], known[has], generator, dims)

    def sample_actions(
        self,
        encoding: BackboneEncoding,
        *,
        noise: Float[Tensor, "R n A"],
        num_steps: int | None = None,
        prefix: Float[Tensor, "B p A"] | None = None,
        delay: int | None = None,
    ) -> Float[Tensor, "R n A"]:
        """Normalised action chunks by flow matching, in `num_steps` Euler steps. prefix, delay: see
        `ActionExpert.sample`."""
        proprio, dims = encoding.inputs.proprio, encoding.inputs.action_dims
        return self.action_expert.sample(
            encoding.action_states, proprio, noise, num_steps, prefix=prefix, delay=delay, dims=dims
        )

    def action_encoding(self, encoding: BackboneEncoding) -> ActionEncoding:
        """The part of an encoding that actions are sampled from, which is all that training the Action Expert needs."""
        layers = encoding.action_states[-self.config.action_expert.layers :]
        return ActionEncoding(layers, encoding.inputs.proprio, encoding.inputs.action_dims)

    def sample_trajectory(
        self,
        encoding: ActionEncoding,
        *,
        noise: Float[Tensor, "B n A"],
        num_steps: Int64[Tensor, " B"],
        step: Int64[Tensor, " B"],
        step_noise: Float[Tensor, "B n A"],
        noise_level: float,
    ) -> Trajectory:
        """`sample_actions` with a stochastic step in each row: see `wla.models.experts.flow_sde`."""
        return sample_trajectory(
            self.action_expert, encoding, noise, num_steps, step=step, step_noise=step_noise, noise_level=noise_level
        )

    def log_prob(
        self,
        encoding: ActionEncoding,
        trajectory: Trajectory,
        executed: Int64[Tensor, " B"],
        *,
        noise_level: float,
    ) -> Float[Tensor, " B"]:
        """Log-probability of the stochastic step of each row, over what the robot executed. executed: number of actions
        of each chunk."""
        mean, std = step_distribution(self.action_expert, encoding, trajectory, noise_level)
        return log_density(trajectory.after, mean, std, executed_mask(encoding, trajectory, executed))
