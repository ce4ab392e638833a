"""Checkpoints in the published layout of WLA-0 <-> our own folders. Only names change; no tensor is computed with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import Tensor

from wla.compat.published_config import WLA as WLA_SECTION
from wla.compat.published_config import Sections, model_config, read_sections, require_exportable, sections_of
from wla.compat.published_keys import CODEC, EMBEDDING, LM_HEAD, passthrough_shapes, published_names
from wla.data.normalize import Statistics
from wla.data.prompts.chat import ChatPromptConfig
from wla.data.published_statistics import write_published
from wla.files import atomic_dir, disk_errors, read_json
from wla.models.model import require_config
from wla.models.wla import WLA, WLAConfig
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.checkpoint_files import (
    CONFIG,
    PASSTHROUGH_TENSORS,
    ROBOT,
    STATISTICS,
    TOKENIZER,
    read_passthrough,
)
from wla.specs import RobotSpec
from wla.types import FIRST, HISTORY
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

PUBLISHED_STATISTICS = ("norm_stats.json", "dataset_statistics.json", "statistics.json")
"""Names under which statistics lie beside published weights."""
PRECISIONS = {"F32": "float32", "BF16": "bfloat16"}


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
    """Write config.json and the weights of a published checkpoint into the existing folder `out`.

    ValueError lists every key that is missing, too many or of another shape, and names unsupported files.
    """
    sections = read_sections(checkpoint, vlm, sana)
    with ExitStack() as opened:
        files = opened.enter_context(WeightFiles(find_weights(checkpoint)))
        stored = dict(files.shapes)
        tied = stored.pop(LM_HEAD, None) is not None
        if tied:
            _require_tied(files)
        model = model_config(sections, stored, cameras=cameras, primary=primary)
        own = _shapes(model)
        names = published_names(own)
        wanted = {name: own[ours] for name, ours in names.items()}
        carried = passthrough_shapes(model.action_expert.width)
        codec = {name: ours for name, ours in names.items() if name.startswith(CODEC)}
        apart: dict[str, Tensor] = {}
        if sana is not None and not any(name.startswith(CODEC) for name in stored):
            apart = {f"{CODEC}{key}": value for key, value in read_tensors(find_weights(sana / "vae")).items()}
        wrong = mismatch(stored | shapes(apart), {**wanted, **carried}, max_items=None)
        if wrong:
            raise ValueError(f"{checkpoint}: does not fit its configuration: {wrong}")
        _require_precision(files)
        config = CheckpointConfig.model_validate(
            {
                "model": model,
                "prompt": (prompt or ChatPromptConfig()).replace(queries=model.queries.count),
                "dtype": PRECISIONS[files.dtype(EMBEDDING)],
            }
        )
        config.save(out / CONFIG)
        ours_to_stored = {ours: name for name, ours in names.items() if name not in apart}
        extra = {codec[name]: value for name, value in apart.items()}
        save_lazily(RenamedTensors(files, ours_to_stored, extra), out / WEIGHTS)
        kept = [*carried, LM_HEAD] if tied else list(carried)
        save_lazily(RenamedTensors(files, {name: name for name in kept}, {}), out / PASSTHROUGH_TENSORS)
    return config


def export_model(folder: Path, out: Path) -> None:
    """Write weights and config.json of one of our checkpoints in the published layout into the new folder `out`.

    What an import carried along comes back; a policy that was trained here has zeros for it, which nothing reads.
    Tokenizer and statistics, where there are any, go along under their published names. ValueError when the model has
    no published layout or `out` exists.
    """
    missing = [name for name in (CONFIG, WEIGHTS) if not exists(folder / name)]
    if missing or "qwen3_vl" in read_json(folder / CONFIG):
        raise ValueError(f"{folder}: none of our checkpoints; pass a folder that `wla import` or training made")
    config = CheckpointConfig.load(folder / CONFIG)
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
        atomic_dir(out) as fresh,
        WeightFiles(folder / WEIGHTS) as files,
    ):
        wrong = mismatch(files.shapes, own, max_items=None)
        if wrong:
            raise ValueError(f"{folder}: does not fit its {CONFIG}: {wrong}")
        _require_precision(files)
        save_lazily(RenamedTensors(files, names, _passthrough_tensors(folder, config)), fresh / WEIGHTS)
        write_sections(sections, fresh / "config.json")
        if (folder / TOKENIZER).is_file():
            shutil.copy(folder / TOKENIZER, fresh / TOKENIZER)
        if (folder / STATISTICS).is_file():
            name = RobotSpec.load(folder / ROBOT).embodiment if (folder / ROBOT).is_file() else "policy"
            write_published(fresh / PUBLISHED_STATISTICS[0], {name: Statistics.load(folder / STATISTICS)})


def write_sections(sections: Sections, path: Path) -> None:
    path.write_text(json.dumps(sections, indent=2) + "\n", encoding="utf-8")


def _passthrough_tensors(folder: Path, config: CheckpointConfig) -> dict[str, Tensor]:
    if stored := read_passthrough(folder):
        return stored
    width = require_config(config.model, WLAConfig, str(folder)).action_expert.width
    wanted = passthrough_shapes(width)
    return {name: torch.zeros(shape, dtype=getattr(torch, config.dtype)) for name, shape in wanted.items()}


def prompt_settings(config: CheckpointConfig) -> dict[str, Any]:
    """What the published configuration says of the prompt, so that an import asks in the same way."""
    assert isinstance(config.prompt, ChatPromptConfig)
    images = config.model.interface.images
    return {
        "training_mode": "image_action_language" if config.prompt.language else "image_action",
        "use_history_obs": any(name.startswith(HISTORY) for name in images),
        "history_obs_step": config.prompt.history,
        "use_begin_frame_context": any(name.startswith(FIRST) for name in images),
    }


def _require_precision(files: WeightFiles) -> None:
    """ValueError for weights that are not stored as numbers that can be computed with as they are."""
    for key in files.shapes:
        if files.dtype(key) not in PRECISIONS:
            raise ValueError(
                f"{files.path}: {key} is stored as {files.dtype(key)}; only {' and '.join(PRECISIONS)} are WLA-0's"
            )


def _shapes(config: WLAConfig) -> dict[str, tuple[int, ...]]:
    with init_empty_weights():
        return shapes(WLA(config).state_dict())


def _require_tied(files: WeightFiles) -> None:
    if EMBEDDING in files.shapes and not torch.equal(files[LM_HEAD], files[EMBEDDING]):
        raise ValueError(f"{files.path}: {LM_HEAD} differs from {EMBEDDING}; WLA-0 ties them, so this is another model")
