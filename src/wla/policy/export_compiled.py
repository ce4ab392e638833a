"""Export of a checkpoint with the compiled functions of acting."""

from __future__ import annotations

import shutil
from pathlib import Path

from wla.files import atomic_dir, disk_errors
from wla.models.inference.function_sets import acting_functions
from wla.models.inference.package import require_products
from wla.models.wla import WLA
from wla.policy.checkpoint import load_checkpoint
from wla.policy.checkpoint_files import COMPILED
from wla.policy.compiled_functions import in_cache
from wla.types import Precision


def export_compiled(folder: Path, out: Path, precision: Precision = "float32") -> None:
    """Writes a copy of a checkpoint that also holds the compiled functions of acting, for machines without a compiler.

    They run where processor and versions are those of this machine (`wla.models.inference.package.facts`), and are in
    the cache from then on, too. precision: see `wla.policy.fast.fast_model`. ValueError for a model that nothing is
    compiled for, without a compiler or products in that precision, and when `out` exists.
    """
    model = load_checkpoint(folder, imagination=False).model
    if not isinstance(model, WLA):
        raise ValueError(f"{folder}: nothing is compiled for models of kind {model.config.kind!r}")
    if out.exists():
        raise ValueError(f"{out}: exists already; export into a new folder, or remove it first")
    require_products(precision)
    code = in_cache(acting_functions(model, precision))
    with disk_errors(out, "free disk space or choose another --out"), atomic_dir(out) as fresh:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                shutil.copy(path, fresh / path.name)
        shutil.copytree(code, fresh / COMPILED)
