"""A checkpoint is one folder that holds all that acting needs: configuration, weights, statistics, robot, tokenizer."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.normalize import MinMaxNormalizer, Statistics
from wla.data.prompts import PromptConfig, Prompter
from wla.data.tokenizer import load_tokenizer, save_tokenizer
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


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write all files beside `folder`, then put them in its place at once: a crash leaves the old or the new one."""
    with replacing(folder) as fresh:
        checkpoint.config.save(fresh / CONFIG)
        checkpoint.statistics.save(fresh / STATISTICS)
        checkpoint.robot_spec.save(fresh / ROBOT)
        save_tokenizer(checkpoint.tokenizer, fresh / TOKENIZER)
        save_weights(checkpoint.model.state_dict(), fresh / WEIGHTS)


def load_checkpoint(folder: Path, *, imagination: bool = True) -> Checkpoint:
    """ValueError says which file or key does not fit. Without imagination its weights are not read."""
    missing = [name for name in (CONFIG, WEIGHTS, STATISTICS, ROBOT, TOKENIZER) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: no checkpoint, {', '.join(missing)} missing; pass the folder that training wrote")
    config = CheckpointConfig.load(folder / CONFIG)
    model = WLA(config.model, imagination=imagination)
    load_weights(model, folder / WEIGHTS, skip=() if imagination else IMAGINATION)
    robot_spec = RobotSpec.load(folder / ROBOT)
    statistics = Statistics.load(folder / STATISTICS)
    checkpoint = Checkpoint(config, model.eval(), statistics, robot_spec, load_tokenizer(folder / TOKENIZER))
    try:
        _ = checkpoint.state_normalizer, checkpoint.action_normalizer
    except ValueError as error:
        raise ValueError(f"{folder / STATISTICS}: {error}") from error
    return checkpoint


def load_weights(model: torch.nn.Module, path: Path, *, skip: tuple[str, ...] = ()) -> None:
    """Strict: every key must be there with its shape and none besides (but for the prefixes in `skip`)."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            stored = {key: file.get_tensor(key) for key in file.keys() if not key.startswith(skip or ("\0",))}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: damaged or no safetensors file ({error}); copy or train it again") from error
    wanted = model.state_dict()
    problems = [f"missing {key}" for key in wanted if key not in stored]
    problems += [f"extra {key}" for key in stored if key not in wanted]
    problems += [
        f"{key} has shape {tuple(stored[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in stored and stored[key].shape != wanted[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(
            f"{path}: does not fit its config.json: {'; '.join(problems[:3])}{more}. "
            "The files of one checkpoint belong together; copy the whole folder"
        )
    model.load_state_dict(stored)


def save_weights(state: dict[str, Tensor], path: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


def pack_checkpoint(folder: Path, out: Path) -> None:
    """A copy of a checkpoint with its weights stored in half precision; they are loaded in full precision."""
    load_checkpoint(folder)
    with replacing(out) as fresh:
        for name in (CONFIG, STATISTICS, ROBOT, TOKENIZER):
            shutil.copy(folder / name, fresh / name)
        weights = load_file(folder / WEIGHTS)
        halved = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
        save_file(halved, fresh / WEIGHTS)


def sha256(folder: Path) -> str:
    """Fingerprint of a checkpoint: of all files that decide what it does."""
    digest = hashlib.sha256()
    for name in (CONFIG, WEIGHTS, STATISTICS, ROBOT, TOKENIZER):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


class replacing:
    """Context manager: a fresh folder beside `folder` that takes its place when the block ends well."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fresh = folder.parent / f".{folder.name}.writing"
        self.old = folder.parent / f".{folder.name}.old"

    def __enter__(self) -> Path:
        shutil.rmtree(self.fresh, ignore_errors=True)
        self.fresh.mkdir(parents=True)
        return self.fresh

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.fresh, ignore_errors=True)
            return
        shutil.rmtree(self.old, ignore_errors=True)
        if self.folder.exists():
            os.replace(self.folder, self.old)
        os.replace(self.fresh, self.folder)
        shutil.rmtree(self.old, ignore_errors=True)
