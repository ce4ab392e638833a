"""Checkpoints in the published layout of WLA-0 <-> our own folders. Only names change; no tensor is computed with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from accelerate import init_empty_weights
from torch import Tensor

from wla.compat.published_config import Sections, model_config, read_sections, require_published, sections_of
from wla.compat.published_keys import CODEC, EMBEDDING, TIED, carried_shapes, published_names
from wla.data.chat_prompts import ChatPromptConfig
from wla.data.normalize import Statistics
from wla.data.published_statistics import write_published
from wla.files import disk_errors, replacing
from wla.models.wla import WLA, WLAConfig
from wla.policy.checkpoint import CONFIG, ROBOT, STATISTICS, TOKENIZER, CheckpointConfig
from wla.specs import RobotSpec
from wla.weights import WEIGHTS, Renamed, WeightFiles, exists, find_weights, mismatch, read_tensors, save_lazily, shapes

PUBLISHED_STATISTICS = ("norm_stats.json", "dataset_statistics.json", "statistics.json")
"""Names under which statistics lie beside published weights."""
CARRIED = "carried.safetensors"
"""Published tensors that no computation reads."""
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
        if TIED in stored:
            _require_tied(files)
            del stored[TIED]
        model = model_config(sections, stored, cameras=cameras, primary=primary)
        own = _shapes(model)
        names = published_names(own)
        wanted = {name: own[ours] for name, ours in names.items()}
        carried = carried_shapes(model.action_expert.width)
        codec = {name: ours for name, ours in names.items() if name.startswith(CODEC)}
        apart: dict[str, Tensor] = {}
        if sana is not None and not any(name.startswith(CODEC) for name in stored):
            apart = {f"{CODEC}{key}": value for key, value in read_tensors(find_weights(sana / "vae")).items()}
        wrong = mismatch(stored | shapes(apart), {**wanted, **carried}, shown=None)
        if wrong:
            raise ValueError(f"{checkpoint}: does not fit its configuration: {wrong}")
        precision = files.dtype(EMBEDDING)
        if precision not in PRECISIONS:
            raise ValueError(
                f"{checkpoint}: weights are {precision}, only {' and '.join(PRECISIONS)} can be computed in"
            )
        config = CheckpointConfig.model_validate(
            {
                "model": model,
                "prompt": (prompt or ChatPromptConfig()).model_copy(update={"queries": model.queries.count}),
                "dtype": PRECISIONS[precision],
            }
        )
        config.save(out / CONFIG)
        ours_to_stored = {ours: name for name, ours in names.items() if name not in apart}
        extra = {codec[name]: value for name, value in apart.items()}
        save_lazily(Renamed(files, ours_to_stored, extra), out / WEIGHTS)
        save_lazily(Renamed(files, {name: name for name in carried}, {}), out / CARRIED)
    return config


def export_model(folder: Path, out: Path) -> None:
    """Write weights and config.json of one of our checkpoints in the published layout into the new folder `out`.

    What an import carried along comes back; a policy that was trained here has zeros for it, which nothing reads.
    Tokenizer and statistics, where there are any, go along under their published names. ValueError when the model has
    no published layout or `out` exists.
    """
    config = CheckpointConfig.load(folder / CONFIG)
    sections = sections_of(config.model)
    if out.exists():
        raise ValueError(f"{out}: exists already; export into a new folder, or remove it first")
    own = _shapes(config.model)
    names = published_names(own)
    require_published(config.model, sections, {name: own[ours] for name, ours in names.items()})
    with (
        disk_errors(out, "nothing was left behind; free disk space or choose another --out"),
        replacing(out) as fresh,
        WeightFiles(folder / WEIGHTS) as files,
    ):
        wrong = mismatch(files.shapes, own, shown=None)
        if wrong:
            raise ValueError(f"{folder}: does not fit its {CONFIG}: {wrong}")
        save_lazily(Renamed(files, names, _carried(folder, config)), fresh / WEIGHTS)
        write_sections(sections, fresh / "config.json")
        if (folder / TOKENIZER).is_file():
            shutil.copy(folder / TOKENIZER, fresh / TOKENIZER)
        if (folder / STATISTICS).is_file():
            name = RobotSpec.load(folder / ROBOT).embodiment if (folder / ROBOT).is_file() else "policy"
            write_published(fresh / PUBLISHED_STATISTICS[0], {name: Statistics.load(folder / STATISTICS)})


def write_sections(sections: Sections, path: Path) -> None:
    path.write_text(json.dumps(sections, indent=2) + "\n", encoding="utf-8")


def _carried(folder: Path, config: CheckpointConfig) -> dict[str, Tensor]:
    if exists(folder / CARRIED):
        return read_tensors(folder / CARRIED)
    wanted = carried_shapes(config.model.action_expert.width)
    return {name: torch.zeros(shape, dtype=getattr(torch, config.dtype)) for name, shape in wanted.items()}


def _shapes(config: WLAConfig) -> dict[str, tuple[int, ...]]:
    with init_empty_weights():
        return shapes(WLA(config).state_dict())


def _require_tied(files: WeightFiles) -> None:
    if EMBEDDING in files.shapes and not torch.equal(files[TIED], files[EMBEDDING]):
        raise ValueError(f"{files.path}: {TIED} differs from {EMBEDDING}; WLA-0 ties them, so this is another model")
