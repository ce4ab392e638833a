"""Training the whole model on datasets of one robot, from a base and a frozen codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla import runtime
from wla.batch import Batch
from wla.config import Config
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.loader import WindowSampler
from wla.data.memory import MemoryAugmentation
from wla.data.normalize import Statistics, compute_statistics
from wla.data.published_statistics import read_published
from wla.models.losses import LossWeights
from wla.models.wla import WLAConfig
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, require_dimensions, save_checkpoint
from wla.specs import RobotSpec
from wla.training.datasets import open_sources
from wla.training.lora import LoraConfig, add_lora, merged
from wla.training.objectives.dummy_targets import all_losses
from wla.training.objectives.initialization import FromPretrained, InitConfig
from wla.training.objectives.loss_normalization import LossNormalizer
from wla.training.sampling import numpy_rng, sample_batch, to_device
from wla.training.trainer import LoopConfig, StepLosses
from wla.weights import strip_prefix


class StatisticsConfig(Config):
    """A JSON file of statistics in the published form, and the dataset in it (None: its only one)."""

    path: str
    entry: str | None = None

    def read(self, robot: RobotSpec) -> Statistics:
        """ValueError when they are absent, damaged, or of another robot."""
        dims = {"state_dim": robot.observation.state_dim, "action_dim": robot.action.dim}
        return read_published(Path(self.path), self.entry, **dims)


class PolicyTrainConfig(Config):
    """Recipe of a policy."""

    model: WLAConfig
    init: InitConfig
    datasets: tuple[DatasetConfig, ...]
    statistics: StatisticsConfig | None = None
    """Ranges of states and actions, in the published form (None: those that the start was made with, or else those of
    the datasets)."""
    weights: LossWeights = LossWeights()
    memory_augmentation: MemoryAugmentation = MemoryAugmentation()
    """How far what the prompts tell of the past is off, as it will be in acting."""
    lora: LoraConfig | None = None
    """Adapters on the backbone, whose own weights then stay as they are."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: far less memory, a third more time."""
    instruction_dropout: float = 0.05
    image_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the samples that see nothing and learn what to say. Where videos of another robot show other tasks than
    the actions do, its looks tell the task, so nothing has to be read; blind, the instruction alone does."""
    subgoal_offsets: tuple[int, ...] = ()
    """How many control steps from now the frame is that the World Expert learns to imagine, one of them drawn for each
    sample; negative ones are past. None: the chunk's length, and acting imagines nothing else."""
    replan_steps: int | None = None
    """Written into the checkpoint: how many actions of a chunk to run before acting again."""
    action_noise: float = 1.0
    """Written into the checkpoint: see `CheckpointConfig`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the checkpoint's weights. Training keeps them in float32 and multiplies in bfloat16."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _require_divisible_scenes(self) -> Self:
        grounding = None if isinstance(self.init, FromPretrained) else self.init.grounding
        if grounding is not None and grounding.samples % self.loop.micro_batches:
            scenes, count = grounding.samples, self.loop.micro_batches
            raise ValueError(f"init.grounding.samples {scenes} is no multiple of loop.micro_batches {count}")
        return self

    def build(self) -> PolicyObjective:
        return PolicyObjective(self)


class PolicyObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: PolicyTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        sources, datasets = open_sources(config.datasets)
        taught = [dataset for dataset, source in zip(datasets, sources, strict=True) if source.actions]
        robot_spec = common_robot_spec(taught)
        require_dimensions(config.model, robot_spec, model="the recipe's model", robot=str(taught[0].root))
        words = [text for dataset in datasets for text in (*dataset.instructions, *dataset.subtask_texts)]
        init = config.init.initialize(config.model, words)
        self.model, self.grounding = init.model, init.grounding
        if config.statistics is not None:
            statistics = config.statistics.read(robot_spec)
        else:
            found = compute_statistics(taught)
            statistics = Statistics(state=init.state or found.state, action=init.action or found.action)
        if statistics.action is None:
            raise ValueError("none of the datasets has actions; a policy needs at least one that does")
        checkpoint_config = CheckpointConfig(
            model=self.model.config,
            prompt=init.prompt,
            dtype=config.dtype,
            replan_steps=config.replan_steps,
            action_noise=config.action_noise,
        )
        self.checkpoint = Checkpoint(checkpoint_config, self.model, statistics, robot_spec, init.tokenizer)
        self.sampler = window_sampler(
            self.checkpoint,
            datasets,
            sources,
            memory_augmentation=config.memory_augmentation,
            instruction_dropout=config.instruction_dropout,
            image_dropout=config.image_dropout,
            subgoal_offsets=config.subgoal_offsets,
        )
        self._loss_normalizer = LossNormalizer(self.sampler, config.loop)
        if config.activation_checkpointing:
            self.model.enable_activation_checkpointing()
        if config.lora is not None:
            add_lora(self.model.backbone, config.lora)
        self._module: nn.Module = self.model
        if self.grounding is not None:
            self._module = nn.ModuleDict({"policy": self.model, "grounding": self.grounding})

    @property
    def module(self) -> nn.Module:
        return self._module

    def sample_batch(self, samples: int, generator: torch.Generator) -> Batch:
        return sample_batch(self.sampler, samples, generator)

    def compute_losses(self, step: int, batch: Batch, device: torch.device, generator: torch.Generator) -> StepLosses:
        batch = to_device(batch, device)
        losses = all_losses(self.model, batch, generator, num_micro_batches=self.config.loop.micro_batches)
        losses = losses.scaled(self._loss_normalizer(step, batch))
        terms = {"action": losses.action, "world": losses.world, "language": losses.language}
        total = losses.total(self.config.weights)
        share = None if isinstance(self.config.init, FromPretrained) else self.config.init.grounding
        if self.grounding is not None and share is not None:
            rng = numpy_rng(generator)
            scenes = share.samples // self.config.loop.micro_batches
            lesson, _ = self.grounding.vqa_loss(self.model.backbone, scenes, device, rng)
            total = total + share.weight * lesson["loss"]
            terms |= {name: lesson[name] for name in ("position_error_m", "location_bin_error", "token_accuracy")}
        return {"loss": total, **terms}, batch.ids

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        if self.grounding is not None:
            weights = strip_prefix("policy.", weights)
        if self.config.lora is not None:
            weights = merged(weights, self.config.lora)
        trained = self.checkpoint.config.replace(trained_steps=step)
        save_checkpoint(replace(self.checkpoint, config=trained), folder, weights=weights)


def window_sampler(
    checkpoint: Checkpoint,
    datasets: list[LeRobotDataset],
    sources: Sequence[DatasetConfig],
    *,
    instruction_dropout: float,
    image_dropout: float = 0.0,
    memory_augmentation: MemoryAugmentation | None = None,
    with_subgoal: bool = False,
    subgoal_offsets: tuple[int, ...] = (),
) -> WindowSampler:
    """The windows that the checkpoint's model learns from, in the units of its statistics; see `WindowSampler`."""
    return WindowSampler(
        datasets=datasets,
        configs=sources,
        prompter=checkpoint.prompter,
        state_normalizer=checkpoint.state_normalizer,
        action_normalizer=checkpoint.action_normalizer,
        action_dim=checkpoint.robot_spec.action.dim,
        images=checkpoint.config.model.backbone.cameras,
        primary=checkpoint.model.backbone.primary,
        subgoal_size=checkpoint.config.model.target_side,
        chunk=checkpoint.config.model.action_expert.chunk,
        memory_augmentation=memory_augmentation or MemoryAugmentation(),
        instruction_dropout=instruction_dropout,
        image_dropout=image_dropout,
        with_subgoal=with_subgoal,
        subgoal_offsets=subgoal_offsets,
    )


def common_robot_spec(datasets: list[LeRobotDataset]) -> RobotSpec:
    """The robot that all the datasets are of. ValueError when they differ or one does not say."""
    first = datasets[0]
    for dataset in datasets:
        if dataset.robot_spec is None:
            raise ValueError(f"{dataset.root}: does not say which robot it is of (meta/wla_robot.json is missing)")
        assert first.robot_spec is not None
        first.robot_spec.require_equal(dataset.robot_spec, ours=str(first.root), theirs=str(dataset.root))
    assert first.robot_spec is not None
    return first.robot_spec
