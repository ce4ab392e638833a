"""A checkpoint is one folder that holds all that acting needs: configuration, weights, statistics, robot, tokenizer."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from accelerate import init_empty_weights
from pydantic import Field
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.normalize import MinMaxNormalizer, Statistics
from wla.data.prompts.chat import ChatPromptConfig, ChatPrompter
from wla.data.prompts.nano import PromptConfig, Prompter
from wla.data.prompts.tokenizer import load_tokenizer, save_tokenizer
from wla.files import atomic_dir, disk_errors
from wla.migrations import FILES
from wla.models.wla import WLA, WLAConfig
from wla.policy.model_card import README, ModelFacts, count_parameters, keep_or_write
from wla.specs import RobotSpec
from wla.types import ImageKey
from wla.weights import (
    COPY_WHOLE_FOLDER,
    WEIGHTS,
    HalfPrecisionTensors,
    WeightFiles,
    exists,
    load_weights,
    pickled,
    read_tensors,
    save_lazily,
    save_weights,
    weight_files,
)

PASSTHROUGH_TENSORS = "passthrough_tensors.safetensors"
"""Tensors of another layout that no computation reads, kept so that `wla export` gives them back."""
CONFIG, STATISTICS, ROBOT, TOKENIZER = "config.json", "statistics.json", "robot.json", "tokenizer.json"
IMAGINATION_PREFIXES = ("world_expert.", "codec.")
"""Prefixes of the weights that only imagining needs."""
HalfPrecision = Literal["float16", "bfloat16"]
INDEX = ".safetensors.index.json"
"""How the name of the list of shards ends."""
SHARD = r"model-\d{5}-of-\d{5}\.safetensors"
"""Names of shards, as a regular expression."""


class CheckpointConfig(Config):
    """What config.json holds."""

    model: WLAConfig
    prompt: PromptConfig | ChatPromptConfig = Field(discriminator="kind")
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the weights when they compute, whatever they are stored in."""
    trained_steps: int = 0
    replan_steps: int | None = None
    """How many actions of a chunk to run before acting again; None runs all."""
    action_noise: float = Field(default=1.0, ge=0.0)
    """Standard deviation of the noise that acting starts from. 1 draws from what was learned; 0 gives the same chunk
    each time, from the middle of it."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that belongs to it."""

    config: CheckpointConfig
    model: WLA
    statistics: Statistics
    robot_spec: RobotSpec
    tokenizer: PreTrainedTokenizerFast
    passthrough_tensors: Mapping[str, Tensor] = field(default_factory=dict)
    """See `PASSTHROUGH_TENSORS`."""

    @property
    def prompter(self) -> Prompter | ChatPrompter:
        return self.config.prompt.build(self.tokenizer, self.model.backbone.image_tokens)

    @property
    def state_normalizer(self) -> MinMaxNormalizer:
        return MinMaxNormalizer(self.statistics.state, dim=self.robot_spec.observation.state_dim, name="state")

    @property
    def action_normalizer(self) -> MinMaxNormalizer:
        if self.statistics.action is None:
            raise ValueError("statistics: none for actions; the checkpoint was trained on action-free data only")
        return MinMaxNormalizer(self.statistics.action, dim=self.robot_spec.action.dim, name="action")


def save_checkpoint(checkpoint: Checkpoint, folder: Path, *, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write all files beside `folder`, then put them in its place at once: a crash leaves the old or the new one.

    weights: instead of the model's own, which may be spread over processes, not averaged yet, or hold adapters. A
    README.md that somebody wrote for the old one stays; see `keep_or_write`.
    """
    weights = checkpoint.model.state_dict() if weights is None else weights
    with atomic_dir(folder) as fresh:
        keep_or_write(folder / README, fresh / README, _facts(checkpoint, weights))
        checkpoint.config.save(fresh / CONFIG)
        checkpoint.statistics.save(fresh / STATISTICS)
        checkpoint.robot_spec.save(fresh / ROBOT)
        save_tokenizer(checkpoint.tokenizer, fresh / TOKENIZER)
        dtype = getattr(torch, checkpoint.config.dtype)
        cast = {key: x.to(dtype) if x.is_floating_point() else x for key, x in weights.items()}
        save_weights(cast, fresh / WEIGHTS)
        if checkpoint.passthrough_tensors:
            save_weights(checkpoint.passthrough_tensors, fresh / PASSTHROUGH_TENSORS)


def foreign_files(folder: Path) -> list[str]:
    """Names in a folder that are no part of a checkpoint, and that saving one there would remove.

    ValueError when there is a file in the folder's place.
    """
    if folder.is_file():
        raise ValueError(f"{folder}: is a file; save to a new folder")
    own = {
        CONFIG,
        STATISTICS,
        ROBOT,
        TOKENIZER,
        README,
        PASSTHROUGH_TENSORS,
        WEIGHTS,
        WEIGHTS.removesuffix(".safetensors") + INDEX,
    }
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in found if name not in own and not re.fullmatch(SHARD, name)]


def _facts(checkpoint: Checkpoint, weights: Mapping[str, Tensor]) -> ModelFacts:
    return ModelFacts(
        model=checkpoint.config.model,
        robot=checkpoint.robot_spec,
        parameters=count_parameters(weights),
        predicts_subtasks=checkpoint.prompter.predicts_subtasks,
        dtype=checkpoint.config.dtype,
        trained_steps=checkpoint.config.trained_steps,
        replan_steps=checkpoint.config.replan_steps,
        action_noise=checkpoint.config.action_noise,
    )


def load_checkpoint(folder: Path, *, imagination: bool = True) -> Checkpoint:
    """ValueError says which file or key does not fit. Without imagination its weights are not read."""
    missing = [name for name in (CONFIG, STATISTICS, ROBOT, TOKENIZER) if not (folder / name).is_file()]
    missing += [] if exists(folder / WEIGHTS) else [WEIGHTS]
    if missing == [WEIGHTS]:
        for path in pickled(folder):
            weight_files(path)  # says why such weights are not read, and how to convert them
    if missing:
        raise ValueError(
            f"{folder}: no checkpoint, {', '.join(missing)} missing; pass the folder that training wrote, or that "
            "`wla import` made of a published one"
        )
    config = CheckpointConfig.load(folder / CONFIG)
    robot_spec = RobotSpec.load(folder / ROBOT)
    require_dimensions(config.model, robot_spec, model=str(folder / CONFIG), robot=str(folder / ROBOT))
    model = load_model(config, folder / WEIGHTS, imagination=imagination)
    statistics = Statistics.load(folder / STATISTICS)
    passthrough_tensors = read_passthrough(folder)
    checkpoint = Checkpoint(
        config, model, statistics, robot_spec, load_tokenizer(folder / TOKENIZER), passthrough_tensors
    )
    try:
        _ = checkpoint.state_normalizer, checkpoint.action_normalizer
    except ValueError as error:
        raise ValueError(f"{folder / STATISTICS}: {error}") from error
    try:
        _ = checkpoint.prompter
    except ValueError as error:
        raise ValueError(f"{folder / TOKENIZER}: does not fit config.json: {error}; {COPY_WHOLE_FOLDER}") from error
    return checkpoint


def read_passthrough(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of `PASSTHROUGH_TENSORS` in a checkpoint's folder, none where there is no such file."""
    paths = (folder / name for name in (PASSTHROUGH_TENSORS, FILES[PASSTHROUGH_TENSORS]))
    return next((read_tensors(path) for path in paths if exists(path)), {})


def load_model(config: CheckpointConfig, weights: Path, *, imagination: bool = True) -> WLA:
    """The model alone, computing in the precision of the configuration; its weights are held once."""
    with init_empty_weights():
        model = WLA(config.model, imagination=imagination)
    load_weights(model, weights, dtype=getattr(torch, config.dtype), skip=() if imagination else IMAGINATION_PREFIXES)
    return model.eval()


def require_dimensions(config: WLAConfig, spec: RobotSpec, *, model: str, robot: str) -> None:
    """ValueError when the model is not built for the robot's state, actions and cameras; `model`, `robot` name both."""
    expert, seen = config.action_expert, spec.observation.cameras
    for what, ours, theirs in (
        ("state", expert.state_dim, spec.observation.state_dim),
        ("action", expert.action_dim, spec.action.dim),
    ):
        if ours != theirs:
            raise ValueError(
                f"{model} is for {ours} {what} dimensions and {robot} has {theirs}; use those of one robot"
            )
    absent = [key.camera for key in map(ImageKey.parse, config.backbone.cameras) if key.camera not in seen]
    if absent:
        raise ValueError(f"{model} needs camera {absent[0]!r} and {robot} has {list(seen)}; use those of one robot")


def convert_checkpoint(folder: Path, out: Path, dtype: HalfPrecision = "float16") -> None:
    """Writes a copy of a checkpoint whose weights are stored in half precision; they are loaded in full precision.

    Weights in bfloat16 stay as they are. Sharded weights get new shards, or fit into one file now. ValueError when
    there are no weights, and when `out` exists: nothing is replaced, least of all the weights in full precision.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    indices = [path for path in files if path.name.endswith(INDEX)]
    sharded = [path.with_name(path.name.removesuffix(INDEX) + ".safetensors") for path in indices]
    shards = {shard for path in sharded for shard in weight_files(path)}
    weights = {path for path in files if path.suffix == ".safetensors"} - shards | set(sharded)
    if not weights:
        raise ValueError(f"{folder}: no weights to convert; pass the folder `checkpoint` that training wrote")
    if out.exists():
        raise ValueError(f"{out}: exists already; convert into a new folder, or remove it first")
    with disk_errors(out, "free disk space or choose another --out"), atomic_dir(out) as fresh:
        for path in sorted(weights):
            with WeightFiles(path) as tensors:
                save_lazily(HalfPrecisionTensors(tensors, getattr(torch, dtype)), fresh / path.name)
        for path in files:
            if path not in weights | shards | set(indices):
                shutil.copy(path, fresh / path.name)


def sha256(folder: Path) -> str:
    """Fingerprint of a checkpoint: of all files that decide what it does."""
    digest = hashlib.sha256()
    for path in [
        folder / CONFIG,
        *weight_files(folder / WEIGHTS),
        *(folder / n for n in (STATISTICS, ROBOT, TOKENIZER)),
    ]:
        with path.open("rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return digest.hexdigest()
