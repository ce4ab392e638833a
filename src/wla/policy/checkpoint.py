"""A checkpoint: one folder with everything that acting needs (configuration, weights, statistics, robot, tokenizer)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import init_empty_weights
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data import (
    ActionRepresentationConfig,
    AnyPromptConfig,
    AnyPrompter,
    NormalizationConfig,
    RobotTransform,
    build_prompter,
)
from wla.files import atomic_dir, disk_errors
from wla.models import AnyModelConfig, PolicyModel
from wla.policy.checkpoint_files import (
    CHECKPOINT_FILES,
    CONFIG,
    PASSTHROUGH_TENSORS,
    README,
    ROBOT,
    ROBOTS,
    STATISTICS,
    TOKENIZER,
    TRAINING_DATA,
    read_passthrough,
    read_tokenizer,
    require_files,
    write_tokenizer,
)
from wla.policy.model_card import ModelFacts, count_parameters, keep_or_write
from wla.policy.prompt_tokens import require_tokens
from wla.policy.robots import PolicyRobot, RobotChoice, choose_robot, read_robots, robots_file, write_robots
from wla.policy.training_data import TrainingData
from wla.weights import COPY_WHOLE_FOLDER, WEIGHTS, WeightFiles, load_weights, save_weights


class CheckpointConfig(Config):
    """Content of config.json."""

    model: AnyModelConfig
    prompt: AnyPromptConfig | None = None
    """None for a model without text; its checkpoint has no tokenizer."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Modes in which the statistics normalise states and actions."""
    action_representation: ActionRepresentationConfig = ActionRepresentationConfig()
    """What the model's actions are: offsets from the state, rotations in 6D. Their statistics are of these."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights when they compute, whatever they are stored in."""
    trained_steps: int = Field(default=0, ge=0)
    replan_steps: int | None = Field(default=None, ge=1)
    """Number of actions of a chunk to run before acting again; None runs all."""
    action_noise: float = Field(default=1.0, ge=0.0)
    """Standard deviation of the noise that acting starts from. 1 samples from the learned distribution; 0 gives the
    same chunk each time, from the middle of it."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that belongs to it. robots: usually one; several share the weights."""

    config: CheckpointConfig
    model: PolicyModel[Any]
    robots: tuple[PolicyRobot, ...]
    tokenizer: PreTrainedTokenizerFast | None = None
    passthrough_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """See `PASSTHROUGH_TENSORS`."""
    training_data: TrainingData | None = None
    """None where it is not known."""

    @property
    def prompter(self) -> AnyPrompter:
        """ValueError when the tokenizer does not fit the prompt."""
        return build_prompter(self.config.prompt, self.tokenizer, self.config.model.interface.image_tokens)

    @property
    def robot(self) -> PolicyRobot:
        """Its only robot. ValueError where it has several."""
        if len(self.robots) > 1:
            names = ", ".join(robot.spec.embodiment for robot in self.robots)
            raise ValueError(
                f"the policy is for several robots ({names}), which this does not support; take one of one"
            )
        return self.robots[0]

    def choose_robot(self, robot: RobotChoice, name: str) -> PolicyRobot:
        """The robot that the policy `name` acts for; see `wla.policy.robots.choose_robot`."""
        return choose_robot(self.robots, robot, name)

    def transform(self, robot: PolicyRobot) -> RobotTransform:
        """What lies between a robot of the policy and the model.

        ValueError where representation or statistics do not fit the robot, or lack what the mode needs.
        """
        config = self.config
        modes, representation, several = config.normalization, config.action_representation, len(self.robots) > 1
        return robot.transform(config.model.interface, modes, representation, several=several)


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write all files beside `folder`, then swap the folders at once: a crash leaves the old or the new one.

    weights: instead of the model's own, which may be sharded over processes, not averaged yet, or hold adapters. A
    README.md that somebody wrote for the old one stays; see `keep_or_write`. ValueError when the folder holds anything
    but a checkpoint.
    """
    weights = checkpoint.model.state_dict() if weights is None else weights
    with atomic_dir(folder, replaces=CHECKPOINT_FILES) as fresh:
        keep_or_write(folder / README, fresh / README, _facts(checkpoint, weights))
        save_parts(checkpoint, fresh, fresh / WEIGHTS, weights=weights)
        if checkpoint.passthrough_tensors:
            save_weights(checkpoint.passthrough_tensors, fresh / PASSTHROUGH_TENSORS)


def save_parts(
    checkpoint: Checkpoint, folder: Path, weights_file: Path, *, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Writes weights into a file and what describes them into an existing folder, for another format's layout.

    `load_checkpoint(folder, weights=weights_file)` reads both. weights: see `save_checkpoint`.
    """
    weights = checkpoint.model.state_dict() if weights is None else weights
    checkpoint.config.save(folder / CONFIG)
    write_robots(checkpoint.robots, folder)
    if checkpoint.tokenizer is not None:
        write_tokenizer(checkpoint.tokenizer, folder)
    if checkpoint.training_data is not None:
        checkpoint.training_data.save(folder / TRAINING_DATA)
    dtype = getattr(torch, checkpoint.config.dtype)
    cast = {key: x.to(dtype) if x.is_floating_point() else x for key, x in weights.items()}
    save_weights(cast, weights_file)


def save_pretrained(checkpoint: Checkpoint, folder: Path) -> None:
    """`save_checkpoint` into a folder that a user named. ValueError when it holds anything but a checkpoint, and when
    it cannot be written."""
    with disk_errors(folder, "free disk space or choose another folder"):
        save_checkpoint(checkpoint, folder)


def _facts(checkpoint: Checkpoint, weights: Mapping[str, Tensor]) -> ModelFacts:
    config = checkpoint.config
    return ModelFacts(
        kind=config.model.kind,
        interface=config.model.interface,
        robots=[robot.spec for robot in checkpoint.robots],
        representation=config.action_representation,
        normalization=config.normalization,
        parameters=count_parameters(weights, checkpoint.model.parts),
        predicts_subtasks=checkpoint.prompter.predicts_subtasks,
        dtype=config.dtype,
        trained_steps=config.trained_steps,
        replan_steps=config.replan_steps,
        action_noise=config.action_noise,
    )


def load_checkpoint(folder: Path, *, imagination: bool = True, weights: Path | None = None) -> Checkpoint:
    """ValueError names the file or key that does not fit. Without imagination its weights are not read.

    weights: file of the weights, where they lie outside of the folder (see `save_parts`).
    """
    robot_files = () if (folder / ROBOTS).is_file() else (STATISTICS, ROBOT)
    require_files(folder, CONFIG, *robot_files, *([WEIGHTS] if weights is None else []))
    config = CheckpointConfig.load(folder / CONFIG)
    if config.prompt is not None:
        require_files(folder, TOKENIZER)
    robots = read_robots(folder)
    if config.replan_steps is not None and not 1 <= config.replan_steps <= config.model.interface.chunk:
        raise ValueError(
            f"{folder / CONFIG}: replan_steps is {config.replan_steps}, a chunk has {config.model.interface.chunk} "
            "actions; restore the file"
        )
    config.model.interface.require_robots(
        [robot.spec for robot in robots],
        [config.action_representation.build(robot.spec).dim for robot in robots],
        model=str(folder / CONFIG),
        robot=str(robots_file(folder, ROBOT)),
    )
    checkpoint = Checkpoint(
        config,
        load_model(config, weights or folder / WEIGHTS, imagination=imagination),
        robots,
        None if config.prompt is None else read_tokenizer(folder),
        read_passthrough(folder),
        TrainingData.load(folder / TRAINING_DATA) if (folder / TRAINING_DATA).is_file() else None,
    )
    try:
        for robot in robots:
            checkpoint.transform(robot)
    except ValueError as error:
        raise ValueError(f"{robots_file(folder, STATISTICS)}: {error}") from error
    try:
        prompter = checkpoint.prompter
        require_tokens(config.model, prompter)
    except ValueError as error:
        raise ValueError(f"{folder / TOKENIZER}: does not fit config.json: {error}; {COPY_WHOLE_FOLDER}") from error
    return checkpoint


def with_data_of(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Returns the checkpoint with the robots' statistics and the tokenizer of another one of the same model.

    For a training that continues it: its weights belong to those. ValueError when model or prompt differ.
    """
    stored = CheckpointConfig.load(folder / CONFIG)
    for name in ("model", "prompt", "normalization", "action_representation"):
        if getattr(stored, name) != getattr(checkpoint.config, name):
            raise ValueError(
                f"{folder / CONFIG}: has another {name} than the recipe gives now; resume what it was made of"
            )
    tokenizer = None if stored.prompt is None else read_tokenizer(folder)
    known = {robot.spec.embodiment: robot.statistics for robot in read_robots(folder)}
    robots = []
    for robot in checkpoint.robots:
        name = robot.spec.embodiment
        if len(known) > 1 and name not in known:
            raise ValueError(f"{robots_file(folder, ROBOT)}: has no robot {name!r}; resume what it was made of")
        statistics = known[name] if len(known) > 1 else next(iter(known.values()))
        robots.append(robot.replace(statistics=statistics))
    return replace(checkpoint, robots=tuple(robots), tokenizer=tokenizer)


def imagination_parts(folder: Path) -> tuple[str, ...]:
    """Prefixes of a policy's weights that acting does not need. ValueError for a folder without a policy."""
    require_files(folder, CONFIG, WEIGHTS)
    with init_empty_weights():
        return CheckpointConfig.load(folder / CONFIG).model.build(imagination=False).imagination_parts


def load_model(config: CheckpointConfig, weights: Path, *, imagination: bool = True) -> PolicyModel[Any]:
    """The model alone, computing in the precision of the configuration; its weights are held once."""
    with init_empty_weights():
        model = config.model.build(imagination=imagination)
    skip = () if imagination else model.imagination_parts
    if imagination and model.imagination_parts:
        with WeightFiles(weights) as files:
            if not any(key.startswith(model.imagination_parts) for key in files.shapes):
                raise ValueError(
                    f"{weights}: a copy for acting, without the weights that predict images (wla convert "
                    "--no-imagination made it); use it without images"
                )
    load_weights(model, weights, dtype=getattr(torch, config.dtype), skip=skip)
    return model.eval()
