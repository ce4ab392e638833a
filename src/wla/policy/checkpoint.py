"""A checkpoint is one folder that holds all that acting needs: configuration, weights, statistics, robot, tokenizer."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.normalize import MinMaxNormalizer, Statistics
from wla.data.prompts import PromptConfig, Prompter
from wla.data.tokenizer import load_tokenizer, save_tokenizer
from wla.files import disk_errors, replacing
from wla.models.wla import WLA, WLAConfig
from wla.specs import RobotSpec

WEIGHTS, CONFIG, STATISTICS, ROBOT, TOKENIZER = (
    "model.safetensors",
    "config.json",
    "statistics.json",
    "robot.json",
    "tokenizer.json",
)
IMAGINATION = ("world_expert.", "codec.")
"""Prefixes of the weights that only imagining needs."""
TOGETHER = "the files of one checkpoint belong together; copy the whole folder"


class CheckpointConfig(Config):
    """What config.json holds."""

    model: WLAConfig
    prompt: PromptConfig
    trained_steps: int = 0
    execute: int | None = None
    """How many actions of a chunk to run before acting again; None runs all."""


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything that belongs to it."""

    config: CheckpointConfig
    model: WLA
    statistics: Statistics
    robot_spec: RobotSpec
    tokenizer: PreTrainedTokenizerFast

    @property
    def prompter(self) -> Prompter:
        return Prompter(self.config.prompt, self.tokenizer, self.model.backbone.image_tokens)

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

    weights: instead of the model's own, which may be spread over processes, not averaged yet, or hold adapters.
    """
    with replacing(folder) as fresh:
        checkpoint.config.save(fresh / CONFIG)
        checkpoint.statistics.save(fresh / STATISTICS)
        checkpoint.robot_spec.save(fresh / ROBOT)
        save_tokenizer(checkpoint.tokenizer, fresh / TOKENIZER)
        save_weights(checkpoint.model.state_dict() if weights is None else weights, fresh / WEIGHTS)


def load_checkpoint(folder: Path, *, imagination: bool = True) -> Checkpoint:
    """ValueError says which file or key does not fit. Without imagination its weights are not read."""
    missing = [name for name in (CONFIG, WEIGHTS, STATISTICS, ROBOT, TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: no checkpoint, {', '.join(missing)} missing; pass the folder that training wrote")
    config = CheckpointConfig.load(folder / CONFIG)
    model = WLA(config.model, imagination=imagination)
    load_weights(model, folder / WEIGHTS, skip=() if imagination else IMAGINATION)
    robot_spec = RobotSpec.load(folder / ROBOT)
    require_dimensions(config.model, robot_spec, model=str(folder / CONFIG), robot=str(folder / ROBOT))
    statistics = Statistics.load(folder / STATISTICS)
    checkpoint = Checkpoint(config, model.eval(), statistics, robot_spec, load_tokenizer(folder / TOKENIZER))
    try:
        _ = checkpoint.state_normalizer, checkpoint.action_normalizer
    except ValueError as error:
        raise ValueError(f"{folder / STATISTICS}: {error}") from error
    try:
        _ = checkpoint.prompter
    except ValueError as error:
        raise ValueError(f"{folder / TOKENIZER}: does not fit config.json: {error}; {TOGETHER}") from error
    return checkpoint


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
    absent = [camera for camera in config.backbone.cameras if camera not in seen]
    if absent:
        raise ValueError(f"{model} needs camera {absent[0]!r} and {robot} has {list(seen)}; use those of one robot")


def load_weights(model: torch.nn.Module, path: Path, *, skip: tuple[str, ...] = ()) -> None:
    """Strict: every key must be there with its shape and none besides (but for the prefixes in `skip`)."""
    stored = read_tensors(path, skip=skip)
    wrong = mismatch(stored, model.state_dict())
    if wrong:
        raise ValueError(f"{path}: does not fit its config.json: {wrong}; {TOGETHER}")
    model.load_state_dict(stored)


def mismatch(stored: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The first keys and shapes in which the two differ, '' when there are none."""
    problems = [f"missing {key}" for key in wanted if key not in stored]
    problems += [f"extra {key}" for key in stored if key not in wanted]
    problems += [
        f"{key} has shape {tuple(stored[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in stored and stored[key].shape != wanted[key].shape
    ]
    more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


def under(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of one part of a module, by the names that they have in it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def read_tensors(path: Path, *, skip: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """All tensors of a file but those with a prefix in `skip`. ValueError when it is missing or damaged."""
    if not path.is_file():
        raise ValueError(f"{path}: file is missing; copy or train it again")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys() if not key.startswith(skip or ("\0",))}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error}); copy or train it again") from error


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """OSError when the disk is full."""
    try:
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    except safetensors.SafetensorError as error:  # the library has no other word for a full disk
        raise OSError(f"{path}: {error}") from error


def pack(folder: Path, out: Path) -> None:
    """A copy of what training wrote with its weights stored in half precision; they are loaded in full precision.

    ValueError when there are no weights, and when `out` exists: nothing is replaced, least of all the weights in full
    precision.
    """
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{folder}: no weights to pack; pass the folder `checkpoint` that training wrote")
    if out.exists():
        raise ValueError(f"{out}: exists already; pack into a new folder, or remove it first")
    with disk_errors(out, "free disk space or choose another --out"), replacing(out) as fresh:
        for path in files:
            if path.suffix == ".safetensors":
                weights = read_tensors(path)
                halved = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
                save_weights(halved, fresh / path.name)
            else:
                shutil.copy(path, fresh / path.name)


def sha256(folder: Path) -> str:
    """Fingerprint of a checkpoint: of all files that decide what it does."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, STATISTICS, ROBOT, TOKENIZER):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()
