"""Training a policy, whatever its kind of model, on datasets of one robot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, save_checkpoint
from wla.policy.checkpoint_files import require_tokens
from wla.training.lora import add_lora, merged
from wla.training.objective import StepLosses
from wla.training.objectives.configs import PolicyDataConfig, PolicyTrainConfig
from wla.training.objectives.mixture_objective import MixtureObjective
from wla.training.objectives.policy_data import common_robot_spec, require_instructions


class PolicyObjective(MixtureObjective[PolicyTrainConfig]):
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: PolicyTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        super().__init__(config, config.loop)
        data = self.data
        robot_spec = common_robot_spec(data.with_actions)
        max_delay = config.realtime.max_delay
        model = config.model.with_max_delay(max_delay) if max_delay else config.model
        init = config.init.initialize(model, data.texts)
        self.model, self.grounding = init.model, init.grounding
        normalization = config.normalization or init.normalization
        representation = config.action_representation or init.action_representation
        actions, interface = representation.build(robot_spec), config.model.interface
        interface.require_robot(
            robot_spec,
            action_dim=actions.dim,
            model="the recipe's model",
            robot=f"{data.with_actions[0].root}{'' if actions.is_plain else ', in this action_representation,'}",
        )
        checkpoint_config = CheckpointConfig(
            model=self.model.config,
            prompt=init.learned_prompt(labelled=data.labelled),
            normalization=normalization,
            action_representation=representation,
            dtype=config.dtype,
            replan_steps=config.replan_steps,
            action_noise=config.action_noise,
        )
        ranges = init.ranges(normalization, representation)
        statistics = data.statistics(config.statistics, robot_spec, actions, interface.chunk, *ranges)
        checkpoint = Checkpoint(
            checkpoint_config,
            self.model,
            statistics,
            robot_spec,
            init.tokenizer,
            training_data=data.record(init.training_data),
        )
        require_tokens(self.model.config, checkpoint.prompter)
        self.train_on(checkpoint)
        require_instructions(data.with_actions, checkpoint)
        if config.activation_checkpointing:
            self.model.enable_activation_checkpointing()
        if config.lora is not None:
            add_lora(self.model.adapted_module, config.lora)
        self._module = self.model if self.grounding is None else self.grounding.joined(self.model)

    @property
    def window_config(self) -> PolicyDataConfig:
        return self.config

    @property
    def module(self) -> nn.Module:
        return self._module

    @property
    def description(self) -> str:
        """The losses, and the dimensions of states and actions that hardly vary."""
        notes = (*self.checkpoint.state_normalizer.notes, *self.checkpoint.action_transform.normalizer.notes)
        return "\n".join(filter(None, [super().description, *notes]))

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        total, terms = self.policy_loss(step, batch, device, generator)
        if self.grounding is not None:
            loss, metrics = self.grounding.compute(self.config.loop.micro_batches, device, generator)
            total, terms = total + loss, terms | metrics
        return {"loss": total, **terms}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        if self.grounding is not None:
            weights = self.grounding.policy_weights(weights)
        if self.config.lora is not None:
            weights = merged(weights, self.config.lora)
        trained = self.checkpoint.config.replace(trained_steps=step)
        save_checkpoint(replace(self.checkpoint, config=trained), folder, weights=weights)

    def resume(self, folder: Path) -> bool:
        changed = super().resume(folder)
        if changed and self.config.statistics is not None:
            path = self.config.statistics.path
            raise ValueError(f"{path}: has other ranges than when this run was started; restore the file")
        return changed
