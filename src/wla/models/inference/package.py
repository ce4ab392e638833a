"""A folder of compiled functions: a file of code each, and the facts that say where the code is right.

The code holds no weights, but it runs: a folder of a stranger is as dangerous as a program.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import wla
from wla.files import atomic_dir, atomic_write_text, read_json
from wla.foreign import shown
from wla.hardware import cpu_name, instruction_sets, multiplies_bfloat16
from wla.models.inference.compile_worker import compile_functions
from wla.models.inference.function_sets import FunctionSet
from wla.models.inference.image_features import Function
from wla.models.inference.packing import constants_of, named_weights
from wla.types import Precision

Functions = dict[str, Function]

FACTS = "compiled.json"
PACKINGS = "packings"
"""Entry of the facts: how the weights of each function are packed."""


class CompiledFunction:
    """A function in a file that `compile_functions` wrote, with the weights of the module that it was compiled from."""

    def __init__(self, file: Path, module: nn.Module, packing: Mapping[str, object]) -> None:
        """packing: see `wla.models.inference.packing`. ValueError for a file that cannot be loaded."""
        try:
            self._loader = torch._C._aoti.AOTIModelPackageLoader(str(file), "model", False, 1, -1)
            self._weights = constants_of(self._loader.get_constant_fqns(), named_weights(module), packing)
            # The code reads these tensors where they are: they live as long as this object.
            self._loader.load_constants(self._weights, False, True, True)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{file}: cannot be loaded ({shown(str(error))}); remove the folder") from error

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        # The code is for tensors without gaps, and does not look.
        return self._loader.boxed_run([tensor.contiguous() for tensor in tensors])


def require_products(precision: Precision) -> None:
    """ValueError where the processor has no matrix products in that precision."""
    if precision == "bfloat16" and not multiplies_bfloat16():
        raise ValueError("this processor multiplies no matrices in bfloat16 (amx_bf16, avx512_bf16)")


def load_functions(folder: Path, functions: FunctionSet) -> Functions:
    """The functions in a folder. ValueError when its code is not for this model, precision, processor and versions."""
    modules, stored = functions.modules, require_same(folder, facts(functions))
    packings = stored.get(PACKINGS)
    if not (isinstance(packings, dict) and all(isinstance(packings.get(name), dict) for name in modules)):
        raise ValueError(f"{folder / FACTS}: does not say how weights are packed; remove the folder")
    return {name: CompiledFunction(folder / f"{name}.pt2", module, packings[name]) for name, module in modules.items()}


def write_package(folder: Path, functions: FunctionSet) -> None:
    """Compiles the functions into a folder, which is replaced. ValueError without a compiler; OSError where it cannot
    be written."""
    with atomic_dir(folder, replaces=("*.pt2", FACTS)) as fresh:
        written = facts(functions) | {PACKINGS: compile_functions(functions, fresh)}
        atomic_write_text(fresh / FACTS, json.dumps(written, indent=2) + "\n")


def cache_folder(functions: FunctionSet) -> Path:
    """Folder of this user for compiled functions of these sizes, on this processor, with these versions."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "wla" / "compiled" / _sha256(json.dumps(facts(functions), sort_keys=True))[:16]


def facts(functions: FunctionSet) -> dict[str, Any]:
    """Everything that compiled code depends on."""
    return {
        "model": functions.fingerprint,
        "precision": functions.precision,
        "wla": f"{wla.__version__} (models {_sources()[:12]})",
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": cpu_name(),
        "instruction_sets": sorted(instruction_sets()),
    }


def require_same(folder: Path, own: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a folder. ValueError says why its code is not for a model and a machine whose facts are `own`."""
    stored = read_json(folder / FACTS, missing="is missing: no compiled functions; remove the folder")
    if stored.get("model") != own["model"]:
        raise ValueError(f"{folder}: was compiled for another model")
    if stored.get("precision") != own["precision"]:
        raise ValueError(
            f"{folder}: was compiled in {shown(str(stored.get('precision')))}, not in {own['precision']} (--precision)"
        )
    for what in ("system", "wla", "torch", "transformers"):
        if stored.get(what) != own[what]:
            raise ValueError(f"{folder}: was compiled for {what} {shown(str(stored.get(what)))}, here is {own[what]}")
    lacking = set(map(str, stored.get("instruction_sets") or ())) - set(own["instruction_sets"])
    if lacking or (not own["instruction_sets"] and stored.get("processor") != own["processor"]):
        named = ", ".join(sorted(lacking)[:4])
        raise ValueError(
            f"{folder}: was compiled for another processor ({shown(str(stored.get('processor')))})"
            + (f", this one lacks {shown(named)}" if named else "")
        )
    return stored


@cache
def _sources() -> str:
    """Fingerprint of the source of all models, which the functions are traced from."""
    root = Path(wla.__file__).parent / "models"
    return _sha256("".join(path.read_text("utf-8") for path in sorted(root.rglob("*.py"))))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
