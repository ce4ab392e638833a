"""The fast path: a policy's model whose functions are compiled, from a package, a cache or anew; else the reference."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from wla.files import atomic_dir, disk_errors
from wla.models.backbones.nano import NanoBackbone
from wla.models.inference.compiled_images import with_image_functions
from wla.models.inference.compiled_parts import CompiledBackbone, with_functions
from wla.models.inference.function_sets import FunctionSet, acting_functions, image_functions, value_functions
from wla.models.inference.package import Functions, cache_folder, load_functions, require_products, write_package
from wla.models.model import PolicyModel
from wla.models.wla import WLA
from wla.policy.checkpoint import load_checkpoint
from wla.policy.checkpoint_files import COMPILED
from wla.policy.value_checkpoint import ValueCheckpoint
from wla.progress import note
from wla.types import Precision

REFERENCE = "the reference path acts"


def fast_model(
    model: PolicyModel[Any], checkpoint: Path, *, trusted: bool, precision: Precision = "float32"
) -> PolicyModel[Any]:
    """A model with the same answers that runs compiled functions; the model itself, with a line that says why, where
    there can be none.

    checkpoint: folder that may hold a package. trusted: whether its code may run here. precision: of products; where a
    processor has none in bfloat16, a line says so and they are computed in float32.
    """
    if not isinstance(model, WLA):
        note(f"fast: nothing is compiled for models of kind {model.config.kind!r}; {REFERENCE}")
        return model
    device = model.action_expert.positions.device
    if device.type != "cpu":
        note(f"fast: nothing is compiled for {device.type} yet; {REFERENCE}")
        return model
    precision = _usable(precision)
    acting = acting_functions(model, precision)
    if "read_prompt" not in acting.modules:
        note(f"fast: {type(model.backbone).__name__} is not compiled, only the sampling of actions is")
    functions = _packaged(checkpoint / COMPILED, acting, trusted=trusted) or _cached(acting, REFERENCE)
    if functions is None:
        return model
    fast, images = with_functions(model, functions), image_functions(model, precision)
    if images is not None and (functions := _cached(images, "the reference predicts images")):
        fast = with_image_functions(fast, functions)
    return fast


def fast_value(value: ValueCheckpoint, *, precision: Precision = "float32") -> ValueCheckpoint:
    """A value model with the same scores that runs compiled functions; the value model itself, with a line that says
    why, where there can be none. precision: see `fast_model`."""
    model, instead = value.model, "the reference scores images"
    if not isinstance(model.backbone, NanoBackbone):
        note(f"fast: {type(model.backbone).__name__} is not compiled; {instead}")
        return value
    functions = _cached(value_functions(model.config, model.backbone, _usable(precision)), instead)
    if functions is None:
        return value
    return replace(value, model=model.with_backbone(CompiledBackbone(model.backbone, functions)))


def export_compiled(folder: Path, out: Path, precision: Precision = "float32") -> None:
    """Writes a copy of a checkpoint that also holds the compiled functions of acting, for machines without a compiler.

    They run where processor and versions are those of this machine (`wla.models.inference.package.facts`), and are in
    the cache from then on, too. precision: see `fast_model`. ValueError for a model that nothing is compiled for,
    without a compiler or products in that precision, and when `out` exists.
    """
    model = load_checkpoint(folder, imagination=False).model
    if not isinstance(model, WLA):
        raise ValueError(f"{folder}: nothing is compiled for models of kind {model.config.kind!r}")
    if out.exists():
        raise ValueError(f"{out}: exists already; export into a new folder, or remove it first")
    require_products(precision)
    code = _in_cache(acting_functions(model, precision))
    with disk_errors(out, "free disk space or choose another --out"), atomic_dir(out) as fresh:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                shutil.copy(path, fresh / path.name)
        shutil.copytree(code, fresh / COMPILED)


def _usable(precision: Precision) -> Precision:
    """The precision; single, with a line that says why, where this processor has no such products."""
    try:
        require_products(precision)
    except ValueError as error:
        note(f"fast: {error}; float32 computes")
        return "float32"
    return precision


def _packaged(folder: Path, functions: FunctionSet, *, trusted: bool) -> Functions | None:
    """Functions of the checkpoint's own package; None, with a line that says why, where it is not used."""
    if not folder.is_dir():
        return None
    if not trusted:
        note(f"fast: {folder} holds code from the hub, which does not run without --trust-code (trust_code=True)")
        return None
    try:
        return load_functions(folder, functions)
    except ValueError as error:
        note(f"fast: {error}")
        return None


def _cached(functions: FunctionSet, instead: str) -> Functions | None:
    """Functions from the user's cache, or compiled now; None, with a line that says why and what is done instead,
    where they cannot be."""
    try:
        return load_functions(_in_cache(functions), functions)
    except ValueError as error:
        note(f"fast: {error}; {instead}")
        return None


def _in_cache(functions: FunctionSet) -> Path:
    """Folder of the functions in the user's cache, compiled into it first where they are not there.

    ValueError says why they cannot be.
    """
    folder = cache_folder(functions)
    if not folder.is_dir():
        with disk_errors(folder, "set XDG_CACHE_HOME to a folder that can be written"):
            write_package(folder, functions)
    return folder
