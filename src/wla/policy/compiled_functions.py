"""Compiled functions of the fast path: from a checkpoint's package, from the user's cache, or compiled into it now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wla.files import disk_errors
from wla.models.inference.function_sets import FunctionSet
from wla.models.inference.package import Functions, cache_folder, load_functions, require_products, write_package
from wla.progress import note
from wla.types import Precision


def usable_precision(precision: Precision) -> Precision:
    """The precision; single, with a line that says why, where this processor has no such products."""
    try:
        require_products(precision)
    except ValueError as error:
        note(f"fast: {error}; float32 computes")
        return "float32"
    return precision


def packaged(folder: Path, functions: FunctionSet, *, trusted: bool) -> Functions | None:
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


def cached(functions: FunctionSet, instead: str) -> Functions | None:
    """Functions from the user's cache, or compiled now; None, with a line that says why and what is done instead,
    where they cannot be."""
    try:
        return load_functions(in_cache(functions), functions)
    except ValueError as error:
        note(f"fast: {error}; {instead}")
        return None


def in_cache(functions: FunctionSet) -> Path:
    """Folder of the functions in the user's cache, compiled into it first where they are not there.

    ValueError says why they cannot be.
    """
    folder = cache_folder(functions)
    if not folder.is_dir():
        with disk_errors(folder, "set XDG_CACHE_HOME to a folder that can be written"):
            write_package(folder, functions)
    return folder


def missing(sets: Iterable[FunctionSet | None]) -> int:
    """Number of functions of these sets that are not in the user's cache: what loading them would compile."""
    return sum(len(each.modules) for each in sets if each is not None and not cache_folder(each).is_dir())
