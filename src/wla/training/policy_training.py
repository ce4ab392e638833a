"""Training the whole model on datasets of one robot, from a base and a frozen codec."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wla import runtime
from wla.config import Config
from wla.data.lerobot import LeRobotDataset
from wla.data.loader import DatasetConfig, WindowBatches
from wla.data.normalize import MinMaxNormalizer, Statistics, compute_statistics
from wla.data.prompts import Prompter
from wla.models.losses import LossWeights
from wla.models.wla import WLA, WLAConfig
from wla.policy.checkpoint import Checkpoint, CheckpointConfig, require_dimensions, save_checkpoint
from wla.specs import RobotSpec
from wla.training.base_training import load_base, load_grounding
from wla.training.codec_training import load_codec
from wla.training.grounding import Grounding
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
    empty_instructions: float = 0.05
    execute: int | None = None
    """Written into the checkpoint: how many actions of a chunk to run before acting again."""
    loop: LoopConfig

    def build(self) -> PolicyTask:
        return PolicyTask(self)


class PolicyTask:
    """A `wla.training.trainer.Task`."""

    def __init__(self, config: PolicyTraining) -> None:
        runtime.seed_everything(config.loop.seed)  # the initial weights belong to the recipe
        self.config = config
        datasets = [LeRobotDataset(Path(source.path)) for source in config.datasets]
        self.robot_spec = one_robot(datasets)
        require_dimensions(config.model, self.robot_spec, model="the recipe's model", robot=str(datasets[0].root))
        base, backbone, prompter, base_statistics = load_base(config.base)
        codec = load_codec(Path(config.codec))
        if base.backbone != config.model.backbone:
            raise ValueError(f"{config.base}: this base has another backbone than the recipe; train the base again")
        self.prompter, self.prompt_config = prompter, base.prompt
        # The state keeps the base's range, or its location words would change their meaning.
        self.statistics = Statistics(state=base_statistics.state, action=compute_statistics(datasets).action)
        self.model_config = config.model.model_copy(update={"codec": codec.config})
        self.model = WLA(self.model_config)
        self.model.backbone.load_state_dict(backbone.state_dict())
        assert self.model.codec is not None
        self.model.codec.load_state_dict(codec.state_dict())
        spec = self.robot_spec
        if self.statistics.action is None:
            raise ValueError("none of the datasets has actions; a policy needs at least one that does")
        self.batches = window_batches(
            datasets,
            config.datasets,
            self.prompter,
            self.statistics,
            spec,
            self.model_config,
            config.empty_instructions,
        )
        self.grounding: Grounding | None = None
        self._module: nn.Module = self.model
        if config.grounding is not None:
            self.grounding = load_grounding(config.base)
            self._module = nn.ModuleDict({"policy": self.model, "grounding": self.grounding})

    @property
    def module(self) -> nn.Module:
        return self._module

    def losses(self, step: int, device: torch.device, generator: torch.Generator) -> StepLosses:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        batch = to_device(self.batches.draw(self.config.loop.batch_size, rng), device)
        losses = self.model(batch, generator)
        terms = {"action": losses.action, "world": losses.world, "language": losses.language}
        total = losses.total(self.config.weights)
        if self.grounding is not None and (share := self.config.grounding) is not None:
            rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
            lesson, _ = self.grounding.ask(self.model.backbone, share.samples, device, rng)
            total = total + share.weight * lesson["loss"]
            terms |= {name: lesson[name] for name in ("metres_off", "bins_off", "words_right")}
        return {"loss": total, **terms}, batch.ids

    def save(self, folder: Path, step: int) -> None:
        config = CheckpointConfig(
            model=self.model_config, prompt=self.prompt_config, trained_steps=step, execute=self.config.execute
        )
        tokenizer = self.prompter.tokenizer
        save_checkpoint(Checkpoint(config, self.model, self.statistics, self.robot_spec, tokenizer), folder)


def window_batches(
    datasets: list[LeRobotDataset],
    sources: Sequence[DatasetConfig],
    prompter: Prompter,
    statistics: Statistics,
    spec: RobotSpec,
    model: WLAConfig,
    empty_instructions: float,
    with_subgoal: bool = False,
) -> WindowBatches:
    """The windows that a model learns from, in the units of its statistics; see `WindowBatches`."""
    assert statistics.action is not None
    return WindowBatches(
        datasets=datasets,
        weights=[source.weight for source in sources],
        prompter=prompter,
        state=MinMaxNormalizer(statistics.state, dim=spec.observation.state_dim, name="state"),
        action=MinMaxNormalizer(statistics.action, dim=spec.action.dim, name="action"),
        action_dim=spec.action.dim,
        cameras=model.backbone.cameras,
        chunk=model.action_expert.chunk,
        empty_instructions=empty_instructions,
        with_subgoal=with_subgoal,
    )


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
