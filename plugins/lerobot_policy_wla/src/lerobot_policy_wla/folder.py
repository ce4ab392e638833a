"""LeRobot's folder of a policy: its own files, and below `wla/` a checkpoint of wla but for the weights.

The weights are `model.safetensors`, under wla's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub.constants import SAFETENSORS_SINGLE_FILE
from torch import Tensor

from wla.policy import Checkpoint, load_checkpoint, save_checkpoint, save_parts

PREFIX = "model."
"""Of the weights' names in LeRobot's policy."""
PARTS = "wla"
"""Subfolder with configuration, statistics, robot and tokenizer."""


def read_folder(folder: Path) -> Checkpoint:
    """The checkpoint in a folder of LeRobot's. ValueError names the file that is missing or does not fit."""
    if not (folder / PARTS).is_dir():
        raise ValueError(
            f"{folder}: has no folder {PARTS}/; give one that lerobot-train or `wla-lerobot to-lerobot` wrote"
        )
    return load_checkpoint(folder / PARTS, weights=folder / SAFETENSORS_SINGLE_FILE)


def write_folder(checkpoint: Checkpoint, folder: Path, state_dict: Mapping[str, Tensor] | None = None) -> None:
    """Writes the checkpoint's part of a folder. state_dict: of LeRobot's policy, instead of the model's own weights."""
    (folder / PARTS).mkdir(parents=True, exist_ok=True)
    weights = None if state_dict is None else {key.removeprefix(PREFIX): each for key, each in state_dict.items()}
    save_parts(checkpoint, folder / PARTS, folder / SAFETENSORS_SINGLE_FILE, weights=weights)


def to_wla(folder: Path, out: Path) -> None:
    """Writes the policy in a folder of LeRobot's as a checkpoint of wla. ValueError when `out` holds anything else."""
    save_checkpoint(read_folder(folder), out)
