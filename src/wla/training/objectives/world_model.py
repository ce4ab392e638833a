"""Training the World Expert of a finished policy further: words and actions stay bit for bit what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.config import Config
from wla.data.dataset_config import DatasetConfig
from wla.data.normalize import Statistics
from wla.models.experts.action_conditioning import ChunkConditionConfig, MotionConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from wla.policy.hub import resolve
from wla.specs import RobotSpec
from wla.training.datasets import open_sources
from wla.training.objectives.dummy_targets import all_losses
from wla.training.objectives.policy import common_robot_spec, window_sampler
from wla.training.sampling import sample_batch, to_device
from wla.training.trainer import LoopConfig, StepLosses


class WorldModelTrainConfig(Config):
    """Recipe of a World Expert. policy: a checkpoint (folder, bundled name or hub id) whose World Expert goes on."""

    policy: str
    datasets: tuple[DatasetConfig, ...]
    instruction_dropout: float = 0.05
    timestep_shift: float = 1.0
    """See `WorldExpertConfig`."""
    pixel_loss_weight: float = 0.0
    """See `WorldExpertConfig`."""
    action_condition_dropout: float | None = None
    """Teach it to imagine what given actions lead to, dropping them from this share of the samples; None leaves it as
    the policy has it. See `ChunkConditionConfig`."""
    num_frequencies: int | None = None
    """Where `action_condition_dropout` is set: also tell it where the actions lead, in so many waves (see `MotionConfig`); None
    leaves it as the policy has it."""
    flow_steps: int
    """Written into the checkpoint: the steps in which images are sampled."""
    heads: int | None = Field(default=None, ge=1)
    """Begin a new World Expert with so many heads of the old one's width; None: the policy's goes on."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _require_action_conditioning(self) -> Self:
        if self.num_frequencies is not None and self.action_condition_dropout is None:
            raise ValueError(
                "num_frequencies: tell where actions lead; set action_condition_dropout, that it reads some"
            )
        return self

    def build(self) -> WorldModelObjective:
        return WorldModelObjective(self)


class WorldModelObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: WorldModelTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        checkpoint = load_checkpoint(resolve(config.policy))
        sources, datasets = open_sources(config.datasets)
        robot = common_robot_spec(datasets)
        checkpoint.robot_spec.require_equal(robot, ours=f"policy {config.policy}", theirs=str(datasets[0].root))
        changes: dict[str, Any] = {
            "timestep_shift": config.timestep_shift,
            "pixel_loss_weight": config.pixel_loss_weight,
            "flow_steps": config.flow_steps,
        }
        if config.action_condition_dropout is not None:
            expert = checkpoint.config.model.action_expert
            changes["actions"] = ChunkConditionConfig(
                action_dim=expert.action_dim,
                state_dim=expert.state_dim,
                chunk=expert.chunk,
                condition_dropout=config.action_condition_dropout,
                motion=self._motion_config(checkpoint),
            )
        if config.heads is not None:
            changes |= {"heads": config.heads, "cross_heads": config.heads}
        world = checkpoint.config.model.world_expert.replace(**changes)
        # Every sample of a batch imagines: nothing else is learned here.
        model_config = checkpoint.config.model.replace(world_expert=world, max_world_samples=None)
        self.model = WLA(model_config)
        known = checkpoint.model.state_dict()
        if config.heads is not None:
            known = {name: value for name, value in known.items() if not name.startswith("world_expert.")}
        # An expert that did not read actions before begins with a reading of them that is drawn at random.
        self.model.load_state_dict(self.model.state_dict() | _zero_pad_inputs(known, self.model))
        assert self.model.world_expert is not None
        self.model.requires_grad_(False)
        self.model.world_expert.requires_grad_(True)
        self.checkpoint = replace(checkpoint, config=checkpoint.config.replace(model=model_config), model=self.model)
        self.sampler = window_sampler(
            self.checkpoint,
            datasets,
            sources,
            instruction_dropout=config.instruction_dropout,
            with_subgoal=True,
        )

    def _motion_config(self, checkpoint: Checkpoint) -> MotionConfig | None:
        """What the expert is told of where actions lead. ValueError when it goes on and was told otherwise before."""
        num_frequencies, heads, read = (
            self.config.num_frequencies,
            self.config.heads,
            checkpoint.config.model.world_expert.actions,
        )
        before = None if read is None else read.motion
        if num_frequencies is None:
            return before
        if before is not None and before.num_frequencies != num_frequencies and heads is None:
            raise ValueError(
                f"num_frequencies {num_frequencies}: policy {self.config.policy} goes on with the {before.num_frequencies} that it learned; "
                "leave num_frequencies away, or name heads to begin anew"
            )
        return motion_config(checkpoint.robot_spec, checkpoint.statistics, num_frequencies)

    @property
    def module(self) -> nn.Module:
        return self.model

    def sample_batch(self, samples: int, generator: torch.Generator) -> Batch:
        return sample_batch(self.sampler, samples, generator)

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """The actions' and words' losses are shown too: they must not move."""
        batch = to_device(batch, device)
        losses = all_losses(self.model, batch, generator, num_micro_batches=self.config.loop.micro_batches)
        return {"loss": losses.world, "action": losses.action, "language": losses.language}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the World Expert as it is now."""
        save_checkpoint(self.checkpoint, folder, weights=weights)


def motion_config(robot: RobotSpec, statistics: Statistics, num_frequencies: int) -> MotionConfig:
    """Which actions say by how much a part of the state changes: those named d and its name.

    ValueError when the robot has none.
    """
    assert statistics.action is not None
    names, before = robot.observation.state_names, statistics.state
    pairs = [
        (names.index(name[1:]), dim)
        for dim, (name, kind) in enumerate(zip(robot.action.names, robot.action.kinds, strict=True))
        if kind == "delta" and name.startswith("d") and name[1:] in names
    ]
    if not pairs or robot.action.frame != robot.observation.state_frame:
        raise ValueError(
            f"num_frequencies: no action of {robot.embodiment} adds to its state ({', '.join(robot.action.names)} and "
            f"{', '.join(names)}, in the same frame); leave num_frequencies away"
        )
    action = statistics.action
    # A part of the state that never changed in the statistics is 0 wherever it is, so nothing moves it.
    units = [2 / span if (span := before.max[s] - before.min[s]) > 0 else 0.0 for s, _ in pairs]
    return MotionConfig(
        state=tuple(s for s, _ in pairs),
        action=tuple(a for _, a in pairs),
        gain=tuple((action.max[a] - action.min[a]) / 2 * unit for (_, a), unit in zip(pairs, units, strict=True)),
        offset=tuple((action.max[a] + action.min[a]) / 2 * unit for (_, a), unit in zip(pairs, units, strict=True)),
        num_frequencies=num_frequencies,
    )


def _zero_pad_inputs(known: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights, with columns of zeros for what a layer reads in addition: at first it counts nothing."""
    wanted = model.state_dict()
    return {
        name: nn.functional.pad(value, (0, wanted[name].shape[1] - value.shape[1]))
        if value.ndim == 2 and wanted[name].shape[1] > value.shape[1]
        else value
        for name, value in known.items()
    }
