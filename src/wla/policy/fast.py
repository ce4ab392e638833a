"""The fast path: a policy's model whose functions are compiled, from a package, a cache or anew; else the reference."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from wla.files import atomic_dir, disk_errors
from wla.models.inference.compiled_parts import with_functions
from wla.models.inference.compiler import functions_of
from wla.models.inference.package import Functions, cache_folder, load_functions, require_products, write_package
from wla.models.model import PolicyModel
from wla.models.wla import WLA
from wla.policy.checkpoint import load_checkpoint
from wla.policy.checkpoint_files import COMPILED
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
    try:
        require_products(precision)
    except ValueError as error:
        note(f"fast: {error}; float32 computes")
        precision = "float32"
    modules = functions_of(model, precision)
    if "read_prompt" not in modules:
        note(f"fast: {type(model.backbone).__name__} is not compiled, only the sampling of actions is")
    functions = _packaged(checkpoint / COMPILED, modules, model, precision, trusted=trusted)
    if functions is None:
        try:
            functions = load_functions(_in_cache(modules, model, precision), modules, model, precision)
        except ValueError as error:
            note(f"fast: {error}; {REFERENCE}")
            return model
    return with_functions(model, functions)


def export_compiled(folder: Path, out: Path, precision: Precision = "float32") -> None:
    """Writes a copy of a checkpoint that also holds its compiled functions, for machines without a compiler.

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
    code = _in_cache(functions_of(model, precision), model, precision)
    with disk_errors(out, "free disk space or choose another --out"), atomic_dir(out) as fresh:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                shutil.copy(path, fresh / path.name)
        shutil.copytree(code, fresh / COMPILED)


def _packaged(
    folder: Path, modules: Mapping[str, nn.Module], model: WLA, precision: Precision, *, trusted: bool
) -> Functions | None:
    """Functions of the checkpoint's own package; None, with a line that says why, where it is not used."""
    if not folder.is_dir():
        return None
    if not trusted:
        note(f"fast: {folder} holds code from the hub, which does not run without --trust-code (trust_code=True)")
        return None
    try:
        return load_functions(folder, modules, model, precision)
    except ValueError as error:
        note(f"fast: {error}")
        return None


def _in_cache(modules: Mapping[str, nn.Module], model: WLA, precision: Precision) -> Path:
    """Folder of the functions in the user's cache, compiled into it first where they are not there.

    ValueError says why they cannot be.
    """
    folder = cache_folder(model, precision)
    if not folder.is_dir():
        with disk_errors(folder, "set XDG_CACHE_HOME to a folder that can be written"):
            write_package(folder, modules, model, precision)
    return folder
