"""Checkpoints in the published layout of WLA-0 <-> our own folders. Only names change, never the values of a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor

from wla.compat.published_config import WLA as WLA_SECTION
from wla.compat.published_config import model_config, read_sections
from wla.compat.published_files import write_files
from wla.compat.published_keys import CODEC, EMBEDDING, LM_HEAD, passthrough_shapes, published_names
from wla.compat.published_sections import prompt_settings, require_exportable, sections_of
from wla.data.action_representation import ActionRepresentationConfig
from wla.data.normalize import NormalizationConfig
from wla.data.prompts.configs import ChatPromptConfig
from wla.files import atomic_dir, disk_errors, read_json
from wla.models.configs import WLAConfig
from wla.models.model_config import require_config
from wla.models.wla import WLA
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import CONFIG, PASSTHROUGH_TENSORS, read_passthrough
from wla.weights import (
    WEIGHTS,
    RenamedTensors,
    WeightFiles,
    exists,
    find_weights,
    mismatch,
    read_tensors,
    save_lazily,
    shapes,
)

PRECISIONS = {"F32": "float32", "BF16": "bfloat16"}
"""Supported data types in safetensors files -> their names in torch."""


def import_model(
    checkpoint: Path,
    out: Path,
    *,
    vlm: Path | None = None,
    sana: Path | None = None,
    cameras: Mapping[str, int],
    primary: str,
    prompt: ChatPromptConfig | None = None,
) -> CheckpointConfig:
    """Writes configuration and weights of a published checkpoint in our own layout.

    Args:
        checkpoint: published checkpoint.
        out: existing folder.
        vlm: folder of the Qwen3-VL model, for a checkpoint without its configuration.
        sana: folder of the Sana model, for a checkpoint without its configuration or its image codec.
        cameras: side of each image of the prompt, pixels.
        primary: camera whose current image conditions the World Expert.
        prompt: None for the default.

    Raises:
        ValueError: weights are missing, unknown or of another shape, or a file is not supported.
    """
    sections = read_sections(checkpoint, vlm, sana)
    with WeightFiles(find_weights(checkpoint)) as files:
        stored = dict(files.shapes)
        tied = stored.pop(LM_HEAD, None) is not None
        if tied:
            _require_tied(files)
        model = model_config(sections, stored, cameras=cameras, primary=primary)
        own = _shapes(model)
        names = published_names(own)
        passthrough = passthrough_shapes(model.action_expert.width)
        codec = _separate_codec(stored, sana)
        expected = {name: own[ours] for name, ours in names.items()}
        problem = mismatch(stored | shapes(codec), {**expected, **passthrough}, max_items=None)
        if problem:
            raise ValueError(f"{checkpoint}: does not fit its configuration: {problem}")
        _require_precision(files)
        config = CheckpointConfig.model_validate(
            {
                "model": model,
                "prompt": (prompt or ChatPromptConfig()).replace(queries=model.queries.count),
                "dtype": PRECISIONS[files.dtype(EMBEDDING)],
            }
        )
        config.save(out / CONFIG)
        stored_names = {ours: name for name, ours in names.items() if name not in codec}
        codec_tensors = {names[name]: value for name, value in codec.items()}
        save_lazily(RenamedTensors(files, stored_names, codec_tensors), out / WEIGHTS)
        unused = [*passthrough, LM_HEAD] if tied else list(passthrough)
        save_lazily(RenamedTensors(files, {name: name for name in unused}, {}), out / PASSTHROUGH_TENSORS)
    return config


def export_model(folder: Path, out: Path) -> None:
    """Writes one of our checkpoints in the published layout, with its tokenizer and statistics if there are any.

    Tensors that no computation uses are those of the import, or zeros for a policy that was trained here.

    Args:
        folder: checkpoint.
        out: new folder.

    Raises:
        ValueError: the model has no published layout, its weights do not fit its configuration, or `out` exists.
    """
    missing = [name for name in (CONFIG, WEIGHTS) if not exists(folder / name)]
    if missing or "qwen3_vl" in read_json(folder / CONFIG):
        raise ValueError(f"{folder}: not one of our checkpoints; pass a folder that `wla import` or training created")
    config = CheckpointConfig.load(folder / CONFIG)
    if config.normalization != NormalizationConfig():
        raise ValueError(
            f"{folder}: normalises in the modes {config.normalization.state} and {config.normalization.action}; the "
            "published layout has MIN_MAX alone, so its users would run other actions"
        )
    if config.action_representation != ActionRepresentationConfig():
        raise ValueError(
            f"{folder}: its actions are relative to the state or rotations in 6D; the published layout has neither"
        )
    model = require_config(config.model, WLAConfig, str(folder))
    sections = sections_of(model)
    sections[WLA_SECTION] |= prompt_settings(config)
    if out.exists():
        raise ValueError(f"{out}: exists already; export into a new folder, or remove it first")
    own = _shapes(model)
    names = published_names(own)
    require_exportable(model, sections, {name: own[ours] for name, ours in names.items()})
    with (
        disk_errors(out, "nothing was left behind; free disk space or choose another --out"),
        atomic_dir(out) as target,
        WeightFiles(folder / WEIGHTS) as files,
    ):
        problem = mismatch(files.shapes, own, max_items=None)
        if problem:
            raise ValueError(f"{folder}: does not fit its {CONFIG}: {problem}")
        _require_precision(files)
        save_lazily(RenamedTensors(files, names, _passthrough_tensors(folder, config)), target / WEIGHTS)
        write_files(folder, sections, target)


def _separate_codec(stored: Mapping[str, tuple[int, ...]], sana: Path | None) -> dict[str, Tensor]:
    """Returns the image codec of the Sana folder by published names; empty if the checkpoint contains a codec."""
    if sana is None or any(name.startswith(CODEC) for name in stored):
        return {}
    return {f"{CODEC}{key}": value for key, value in read_tensors(find_weights(sana / "vae")).items()}


def _passthrough_tensors(folder: Path, config: CheckpointConfig) -> dict[str, Tensor]:
    if stored := read_passthrough(folder):
        return stored
    width = require_config(config.model, WLAConfig, str(folder)).action_expert.width
    expected = passthrough_shapes(width)
    return {name: torch.zeros(shape, dtype=getattr(torch, config.dtype)) for name, shape in expected.items()}


def _require_precision(files: WeightFiles) -> None:
    """Raises ValueError for weights that are stored in an unsupported data type."""
    for key in files.shapes:
        if files.dtype(key) not in PRECISIONS:
            raise ValueError(
                f"{files.path}: {key} is stored as {files.dtype(key)}; only {' and '.join(PRECISIONS)} are supported, "
                "convert the file first"
            )


def _shapes(config: WLAConfig) -> dict[str, tuple[int, ...]]:
    with init_empty_weights():
        return shapes(WLA(config).state_dict())


def _require_tied(files: WeightFiles) -> None:
    if EMBEDDING in files.shapes and not torch.equal(files[LM_HEAD], files[EMBEDDING]):
        raise ValueError(f"{files.path}: {LM_HEAD} differs from {EMBEDDING}; WLA-0 ties them, so this is another model")
