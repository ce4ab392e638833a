"""The files of a checkpoint's folder: their names, their fingerprint, and copies in fewer bits."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.data.prompts.tokenizer import load_tokenizer, save_tokenizer
from wla.files import atomic_dir, disk_errors
from wla.migrations import FILES
from wla.weights import (
    WEIGHTS,
    HalfPrecisionTensors,
    Int8Tensors,
    WeightFiles,
    exists,
    pickled,
    read_tensors,
    save_lazily,
    weight_files,
)

CONFIG, STATISTICS, ROBOT, TOKENIZER = "config.json", "statistics.json", "robot.json", "tokenizer.json"
ROBOTS = "robots.json"
"""Robots and statistics of a policy for several robots, instead of `ROBOT` and `STATISTICS`."""
README = "README.md"
TRAINING_DATA = "training_data.json"
"""The episodes that it was trained on; checkpoints of others lack it."""
PASSTHROUGH_TENSORS = "passthrough_tensors.safetensors"
"""Tensors of another layout that no computation reads, kept so that `wla export` gives them back."""
COMPILED = "compiled"
"""Folder with compiled functions of the model (`wla.policy.fast`), which run code and are no part of the weights."""
INDEX = ".safetensors.index.json"
"""Ending of the name of a list of shards."""
CHECKPOINT_FILES = (
    CONFIG,
    STATISTICS,
    ROBOT,
    ROBOTS,
    TOKENIZER,
    README,
    TRAINING_DATA,
    PASSTHROUGH_TENSORS,
    COMPILED,
    WEIGHTS,
    WEIGHTS.removesuffix(".safetensors") + INDEX,
    "model-?????-of-?????.safetensors",
)
"""Patterns of the names of a checkpoint's files, which saving replaces."""
StoredDtype = Literal["float16", "bfloat16", "int8"]


def require_files(folder: Path, *names: str) -> None:
    """ValueError when one of the files is missing from a checkpoint's folder; `WEIGHTS` may be in shards."""
    missing = [name for name in names if not (exists if name == WEIGHTS else Path.is_file)(folder / name)]
    if missing == [WEIGHTS]:
        for path in pickled(folder):
            weight_files(path)  # says why such weights are not read, and how to convert them
    if missing:
        raise ValueError(
            f"{folder}: not a checkpoint, {', '.join(missing)} missing; pass the folder that training wrote, or that "
            "`wla import` made of a published one"
        )


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer in a checkpoint's folder. ValueError when it is missing or damaged."""
    return load_tokenizer(folder / TOKENIZER)


def write_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    save_tokenizer(tokenizer, folder / TOKENIZER)


def read_passthrough(folder: Path) -> dict[str, Tensor]:
    """Returns the tensors of `PASSTHROUGH_TENSORS` in a checkpoint's folder, none where there is no such file."""
    paths = (folder / name for name in (PASSTHROUGH_TENSORS, FILES[PASSTHROUGH_TENSORS]))
    return next((read_tensors(path) for path in paths if exists(path)), {})


def convert_checkpoint(folder: Path, out: Path, dtype: StoredDtype = "float16", skip: tuple[str, ...] = ()) -> None:
    """Writes a copy of a checkpoint whose weights are stored in fewer bits; they are loaded in full precision.

    int8: matrices in 8 bits with a factor for each row. Otherwise weights in bfloat16 stay as they are. skip: prefixes
    of weights that the copy lacks. Sharded weights get new shards, or fit into one file now. ValueError when there are
    no weights, and when `out` exists: nothing is replaced, least of all the weights in full precision.
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
                save_lazily(_packed(tensors, dtype, skip), fresh / path.name)
        for path in files:
            if path not in weights | shards | set(indices):
                shutil.copy(path, fresh / path.name)


def _packed(tensors: WeightFiles, dtype: StoredDtype, skip: tuple[str, ...]) -> HalfPrecisionTensors:
    return Int8Tensors(tensors, skip) if dtype == "int8" else HalfPrecisionTensors(tensors, skip, getattr(torch, dtype))


def sha256(folder: Path) -> str:
    """Fingerprint of a checkpoint, of all files that change its answers."""
    digest = hashlib.sha256()
    for path in [
        folder / CONFIG,
        *weight_files(folder / WEIGHTS),
        *(folder / name for name in (STATISTICS, ROBOT, ROBOTS, TOKENIZER)),
    ]:
        if path.name in (STATISTICS, ROBOT, ROBOTS, TOKENIZER) and not path.is_file():
            continue  # a model without text has no tokenizer, and the robots are in one form or the other
        with path.open("rb") as file:
            while block := file.read(2**24):
                digest.update(block)
    return digest.hexdigest()
