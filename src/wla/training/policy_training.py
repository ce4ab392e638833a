"""Training the whole model on datasets of one robot, from a base and a frozen codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.lerobot import LeRobotDataset
from wla.data.loader import DatasetConfig, WindowBatches
from wla.data.normalize import Statistics, compute_statistics
from wla.models.losses import LossWeights
from wla.models.wla import WLA, WLAConfig
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, require_dimensions, save_checkpoint, under
from wla.specs import RobotSpec
from wla.training.base_training import load_base, load_grounding
from wla.training.codec_training import load_codec
from wla.training.grounding import Grounding
from wla.training.lora import LoraConfig, add_lora, merged
from wla.training.stand_in import all_losses
from wla.training.trainer import LoopConfig, StepLosses
from wla.types import Batch


class GroundingConfig(Config):
    """How much of the base's lesson a policy takes along."""

    samples: int = 8
    """Scenes in each step, drawn from those of the base's recipe."""
    weight: float = 0.1
    """Of the lesson's loss, beside the policy's."""


class PolicyTraining(Config):
    """Recipe of a policy. base and codec are folders that their own recipes wrote; a base may also be a bundled one."""

    model: WLAConfig
    base: str
    codec: str
    datasets: tuple[DatasetConfig, ...]
    weights: LossWeights = LossWeights()
    grounding: GroundingConfig | None = None
    """None: the policy learns from its datasets alone."""
    lora: LoraConfig | None = None
    """Adapters on the backbone, whose own weights then stay as they are."""
    empty_instructions: float = 0.05
    execute: int | None = None
    """Written into the checkpoint: how many actions of a chunk to run before acting again."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _scenes_divide(self) -> Self:
        if self.grounding is not None and self.grounding.samples % self.loop.micro_batches:
            scenes, count = self.grounding.samples, self.loop.micro_batches
            raise ValueError(f"grounding.samples {scenes} is no multiple of loop.micro_batches {count}; change one")
        return self

    def build(self) -> PolicyTask:
        return PolicyTask(self)


class PolicyTask:
    """A `wla.training.trainer.Task`."""

    def __init__(self, config: PolicyTraining) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        datasets = [LeRobotDataset(Path(source.path)) for source in config.datasets]
        robot_spec = one_robot(datasets)
        require_dimensions(config.model, robot_spec, model="the recipe's model", robot=str(datasets[0].root))
        base, backbone, prompter, base_statistics = load_base(config.base)
        codec = load_codec(Path(config.codec))
        if base.backbone != config.model.backbone:
            raise ValueError(f"{config.base}: this base has another backbone than the recipe; train the base again")
        # The state keeps the base's range, or its location words would change their meaning.
        statistics = Statistics(state=base_statistics.state, action=compute_statistics(datasets).action)
        if statistics.action is None:
            raise ValueError("none of the datasets has actions; a policy needs at least one that does")
        model_config = config.model.model_copy(update={"codec": codec.config})
        self.model = WLA(model_config)
        self.model.backbone.load_state_dict(backbone.state_dict())
        assert self.model.codec is not None
        self.model.codec.load_state_dict(codec.state_dict())
        checkpoint_config = CheckpointConfig(model=model_config, prompt=base.prompt, execute=config.execute)
        self.checkpoint = Checkpoint(checkpoint_config, self.model, statistics, robot_spec, prompter.tokenizer)
        self.batches = window_batches(
            self.checkpoint, datasets, config.datasets, empty_instructions=config.empty_instructions
        )
        if config.lora is not None:
            add_lora(self.model.backbone, config.lora)
        self.grounding: Grounding | None = None
        self._module: nn.Module = self.model
        if config.grounding is not None:
            self.grounding = load_grounding(config.base)
            self._module = nn.ModuleDict({"policy": self.model, "grounding": self.grounding})

    @property
    def module(self) -> nn.Module:
        return self._module

    def losses(self, step: int, samples: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        batch = draw(self.batches, samples, device, generator)
        losses = all_losses(self.model, batch, generator, one_of=self.config.loop.micro_batches)
        terms = {"action": losses.action, "world": losses.world, "language": losses.language}
        total = losses.total(self.config.weights)
        if self.grounding is not None and (share := self.config.grounding) is not None:
            rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
            scenes = share.samples // self.config.loop.micro_batches
            lesson, _ = self.grounding.ask(self.model.backbone, scenes, device, rng)
            total = total + share.weight * lesson["loss"]
            terms |= {name: lesson[name] for name in ("metres_off", "bins_off", "words_right")}
        return {"loss": total, **terms}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        if self.grounding is not None:
            weights = under("policy.", weights)
        if self.config.lora is not None:
            weights = merged(weights, self.config.lora)
        trained = self.checkpoint.config.model_copy(update={"trained_steps": step})
        save_checkpoint(replace(self.checkpoint, config=trained), folder, weights=weights)


def window_batches(
    checkpoint: Checkpoint,
    datasets: list[LeRobotDataset],
    sources: Sequence[DatasetConfig],
    *,
    empty_instructions: float,
    with_subgoal: bool = False,
) -> WindowBatches:
    """The windows that the checkpoint's model learns from, in the units of its statistics; see `WindowBatches`."""
    return WindowBatches(
        datasets=datasets,
        weights=[source.weight for source in sources],
        prompter=checkpoint.prompter,
        state=checkpoint.state_normalizer,
        action=checkpoint.action_normalizer,
        action_dim=checkpoint.robot_spec.action.dim,
        cameras=checkpoint.config.model.backbone.cameras,
        chunk=checkpoint.config.model.action_expert.chunk,
        empty_instructions=empty_instructions,
        with_subgoal=with_subgoal,
    )


def draw(batches: WindowBatches, size: int, device: torch.device, generator: torch.Generator) -> Batch:
    """A batch on `device` that depends on the generator alone."""
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    return to_device(batches.draw(size, rng), device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with all its tensors on `device`."""
    return Batch(
        tokens=batch.tokens.to(device),
        attention_mask=batch.attention_mask.to(device),
        labels=batch.labels.to(device),
        images={name: image.to(device) for name, image in batch.images.items()},
        state=batch.state.to(device),
        actions=batch.actions.to(device),
        action_mask=batch.action_mask.to(device),
        subgoal=None if batch.subgoal is None else batch.subgoal.to(device),
        subgoal_mask=batch.subgoal_mask.to(device),
        ids=batch.ids,
    )


def one_robot(datasets: list[LeRobotDataset]) -> RobotSpec:
    """The robot that all the datasets are of. ValueError when they differ or one does not say."""
    first = datasets[0]
    for dataset in datasets:
        if dataset.robot_spec is None:
            raise ValueError(f"{dataset.root}: does not say which robot it is of (meta/wla_robot.json is missing)")
        assert first.robot_spec is not None
        first.robot_spec.require_equal(dataset.robot_spec, ours=str(first.root), theirs=str(dataset.root))
    assert first.robot_spec is not None
    return first.robot_spec
