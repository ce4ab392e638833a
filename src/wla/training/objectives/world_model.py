"""Training the World Expert of a finished policy further: words and actions stay bit for bit what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.loader import DatasetConfig
from wla.data.normalize import Statistics
from wla.models.experts.action_conditioning import ChunkConditionConfig, MotionConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from wla.policy.hub import locate
from wla.specs import RobotSpec
from wla.training.datasets import open_sources
from wla.training.objectives.dummy_targets import all_losses
from wla.training.objectives.policy import one_robot, window_batches
from wla.training.sampling import draw, to_device
from wla.training.trainer import LoopConfig, StepLosses
from wla.types import Batch


class WorldTraining(Config):
    """Recipe of a World Expert. policy: a checkpoint (folder, bundled name or hub id) whose World Expert goes on."""

    policy: str
    datasets: tuple[DatasetConfig, ...]
    empty_instructions: float = 0.05
    noise_shift: float = 1.0
    """See `WorldExpertConfig`."""
    pixel_weight: float = 0.0
    """See `WorldExpertConfig`."""
    actions_dropped: float | None = None
    """Teach it to imagine what given actions lead to, dropping them from this share of the samples; None leaves it as
    the policy has it. See `ChunkConditionConfig`."""
    octaves: int | None = None
    """Where `actions_dropped` is set: also tell it where the actions lead, in so many waves (see `MotionConfig`); None
    leaves it as the policy has it."""
    sampling_steps: int
    """Written into the checkpoint: the steps in which images are sampled."""
    heads: int | None = Field(default=None, ge=1)
    """Begin a new World Expert with so many heads of the old one's width; None: the policy's goes on."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.octaves is not None and self.actions_dropped is None:
            raise ValueError("octaves: tell where actions lead; set actions_dropped, that it reads some")
        return self

    def build(self) -> WorldTask:
        return WorldTask(self)


class WorldTask:
    """A `wla.training.trainer.Task`."""

    def __init__(self, config: WorldTraining) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        checkpoint = load_checkpoint(locate(config.policy))
        sources, datasets = open_sources(config.datasets)
        robot = one_robot(datasets)
        checkpoint.robot_spec.require_equal(robot, ours=f"policy {config.policy}", theirs=str(datasets[0].root))
        changes: dict[str, Any] = {
            "noise_shift": config.noise_shift,
            "pixel_weight": config.pixel_weight,
            "steps": config.sampling_steps,
        }
        if config.actions_dropped is not None:
            expert = checkpoint.config.model.action_expert
            changes["actions"] = ChunkConditionConfig(
                action_dim=expert.action_dim,
                state_dim=expert.state_dim,
                chunk=expert.chunk,
                dropped=config.actions_dropped,
                motion=self._motion(checkpoint),
            )
        if config.heads is not None:
            changes |= {"heads": config.heads, "cross_heads": config.heads}
        world = checkpoint.config.model.world_expert.model_copy(update=changes)
        # Every sample of a batch imagines: nothing else is learned here.
        model_config = checkpoint.config.model.model_copy(update={"world_expert": world, "world_samples": None})
        self.model = WLA(model_config)
        known = checkpoint.model.state_dict()
        if config.heads is not None:
            known = {name: value for name, value in known.items() if not name.startswith("world_expert.")}
        # An expert that did not read actions before begins with a reading of them that is drawn at random.
        self.model.load_state_dict(self.model.state_dict() | _as_wide(known, self.model))
        assert self.model.world_expert is not None
        self.model.requires_grad_(False)
        self.model.world_expert.requires_grad_(True)
        self.checkpoint = replace(
            checkpoint, config=checkpoint.config.model_copy(update={"model": model_config}), model=self.model
        )
        self.batches = window_batches(
            self.checkpoint,
            datasets,
            sources,
            empty_instructions=config.empty_instructions,
            with_subgoal=True,
        )

    def _motion(self, checkpoint: Checkpoint) -> MotionConfig | None:
        """What the expert is told of where actions lead. ValueError when it goes on and was told otherwise before."""
        octaves, heads, read = self.config.octaves, self.config.heads, checkpoint.config.model.world_expert.actions
        before = None if read is None else read.motion
        if octaves is None:
            return before
        if before is not None and before.octaves != octaves and heads is None:
            raise ValueError(
                f"octaves {octaves}: policy {self.config.policy} goes on with the {before.octaves} that it learned; "
                "leave octaves away, or name heads to begin anew"
            )
        return motion(checkpoint.robot_spec, checkpoint.statistics, octaves)

    @property
    def module(self) -> nn.Module:
        return self.model

    def draw(self, samples: int, generator: torch.Generator) -> Batch:
        return draw(self.batches, samples, generator)

    def losses(self, step: int, drawn: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        """The actions' and words' losses are shown too: they must not move."""
        batch = to_device(drawn, device)
        losses = all_losses(self.model, batch, generator, one_of=self.config.loop.micro_batches)
        return {"loss": losses.world, "action": losses.action, "language": losses.language}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the World Expert as it is now."""
        save_checkpoint(self.checkpoint, folder, weights=weights)


def motion(robot: RobotSpec, statistics: Statistics, octaves: int) -> MotionConfig:
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
            f"octaves: no action of {robot.embodiment} adds to its state ({', '.join(robot.action.names)} and "
            f"{', '.join(names)}, in the same frame); leave octaves away"
        )
    action = statistics.action
    # A part of the state that never changed in the statistics is 0 wherever it is, so nothing moves it.
    units = [2 / span if (span := before.max[s] - before.min[s]) > 0 else 0.0 for s, _ in pairs]
    return MotionConfig(
        state=tuple(s for s, _ in pairs),
        action=tuple(a for _, a in pairs),
        gain=tuple((action.max[a] - action.min[a]) / 2 * unit for (_, a), unit in zip(pairs, units, strict=True)),
        offset=tuple((action.max[a] + action.min[a]) / 2 * unit for (_, a), unit in zip(pairs, units, strict=True)),
        octaves=octaves,
    )


def _as_wide(known: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights, with columns of zeros for what a layer reads in addition: at first it counts nothing."""
    wanted = model.state_dict()
    return {
        name: nn.functional.pad(value, (0, wanted[name].shape[1] - value.shape[1]))
        if value.ndim == 2 and wanted[name].shape[1] > value.shape[1]
        else value
        for name, value in known.items()
    }
