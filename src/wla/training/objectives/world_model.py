"""Fine-tuning of a finished policy's World Expert: its text and actions stay bit for bit what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.models import WLA
from wla.policy import Checkpoint, save_checkpoint
from wla.training.objective import StepLosses
from wla.training.objectives.configs import WorldModelTrainConfig
from wla.training.objectives.finished_policy import finished_policy
from wla.training.objectives.mixture_objective import MixtureObjective
from wla.training.objectives.motion import chunk_condition, motion_config, require_same_motion


class WorldModelObjective(MixtureObjective[WorldModelTrainConfig]):
    """A `wla.training.trainer.Objective`."""

    minimised = ("world",)
    with_subgoal = True
    model: WLA

    def __init__(self, config: WorldModelTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        super().__init__(config, config.loop)
        checkpoint, before = finished_policy(config.policy, self.data.datasets)
        world = before.config.world_expert.replace(**self._changes(checkpoint, before))
        # Every sample of a batch predicts images: nothing else is learned here.
        model_config = before.config.replace(world_expert=world, max_world_samples=None)
        self.model = WLA(model_config)
        known = before.state_dict()
        if config.heads is not None:
            known = {name: value for name, value in known.items() if not name.startswith("world_expert.")}
        # An expert that did not read actions before starts with random weights for them.
        self.model.load_state_dict(self.model.state_dict() | _zero_pad_inputs(known, self.model))
        assert self.model.world_expert is not None
        self.model.requires_grad_(False)
        self.model.world_expert.requires_grad_(True)
        changed_config = checkpoint.config.replace(model=model_config)
        self.train_on(replace(checkpoint, config=changed_config, model=self.model))

    def _changes(self, checkpoint: Checkpoint, before: WLA) -> dict[str, Any]:
        """Fields of the World Expert's configuration that the recipe sets. ValueError when it is fine-tuned and was
        conditioned on another motion."""
        config = self.config
        changes: dict[str, Any] = {
            "timestep_shift": config.timestep_shift,
            "pixel_loss_weight": config.pixel_loss_weight,
            "flow_steps": config.flow_steps,
        }
        if config.action_condition_dropout is not None:
            read = before.config.world_expert.actions
            motion = None if read is None else read.motion
            if config.num_frequencies is not None:
                if config.heads is None:
                    require_same_motion(motion, config.num_frequencies, config.policy)
                transform = checkpoint.transform(checkpoint.robot)
                motion = motion_config(
                    checkpoint.robot.spec, transform.state, transform.actions, config.num_frequencies
                )
            changes["actions"] = chunk_condition(before.config.interface, config.action_condition_dropout, motion)
        if config.heads is not None:
            changes |= {"heads": config.heads, "cross_heads": config.heads}
        return changes

    @property
    def module(self) -> nn.Module:
        return self.model

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """The losses of actions and text are logged too: they must not change."""
        losses = self.policy_loss.terms(batch, device, generator)
        return {"loss": losses.pop("world"), **losses}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the World Expert as it is now."""
        save_checkpoint(self.checkpoint, folder, weights=weights)


def _zero_pad_inputs(known: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights, with columns of zeros for the additional inputs of a layer: at first they have no effect."""
    wanted = model.state_dict()
    return {
        name: nn.functional.pad(value, (0, wanted[name].shape[1] - value.shape[1]))
        if value.ndim == 2 and wanted[name].shape[1] > value.shape[1]
        else value
        for name, value in known.items()
    }
