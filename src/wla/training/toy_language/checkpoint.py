"""The folder of a toy language model: its configuration and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from wla.files import atomic_dir
from wla.models.block_text import BlockText
from wla.run_folder import checkpoint_folder, read_checkpoint
from wla.training.toy_language.configs import ToyLanguageConfig
from wla.weights import load_weights, save_weights

CONFIG, WEIGHTS = "toy_language.json", "toy_language.safetensors"


def save_language_model(folder: Path, config: ToyLanguageConfig, weights: Mapping[str, Tensor]) -> None:
    """Writes the folder, or replaces one."""
    with atomic_dir(folder, replaces=(CONFIG, WEIGHTS)) as fresh:
        config.save(fresh / CONFIG)
        save_weights(weights, fresh / WEIGHTS)


def load_language_model(folder: Path) -> tuple[ToyLanguageConfig, BlockText]:
    """The model of a run or of a checkpoint. ValueError when there is none."""
    return read_checkpoint(lambda: checkpoint_folder(folder), _read)


def _read(folder: Path) -> tuple[ToyLanguageConfig, BlockText]:
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder}: no toy language model ({CONFIG} is missing); `wla train toy_language`")
    config = ToyLanguageConfig.load(folder / CONFIG)
    model = BlockText(config.model)
    load_weights(model, folder / WEIGHTS)
    return config, model.eval()
