"""Loading of recipes: Python files with a function `config()`, those of the package by name."""

from __future__ import annotations

import inspect
import runpy
import traceback
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from wla.config import Config
from wla.config_errors import nearest


def bundled_recipes() -> dict[str, Path]:
    """Names of the recipes that come with the package, and their files."""
    folder = Path(str(resources.files("wla"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def find_recipe(name: str | Path) -> Path:
    """The file of a recipe, by bundled name or path. ValueError, with the nearest name, when there is none."""
    path, known = Path(name), bundled_recipes()
    if str(name) in known:
        return known[str(name)]
    if path.is_file():
        if path.suffix != ".py":
            raise ValueError(f"{path}: a recipe is a Python file (.py) with a function config(), or a bundled name")
        return path
    near = nearest(path.stem, known)
    hint = f"did you mean {near!r}?" if near else f"bundled recipes are {', '.join(known)}"
    is_path = path.suffix == ".py" or len(path.parts) > 1
    reason = "there is no such file" if is_path else "neither a bundled name nor a .py file"
    raise ValueError(f"no recipe {str(name)!r}: {reason}; {hint}")


def load_recipe(name: str | Path) -> Any:
    """Returns the configuration that `config()` of a recipe returns.

    Args:
        name: name of a bundled recipe (``nano_tabletop``) or path of a .py file.

    Raises:
        ValueError: no such recipe, one that cannot be run (with the line at fault), or whose ``config()`` is missing,
            needs arguments or returns anything but a configuration.
    """
    path = find_recipe(name)
    function = _run(path, lambda: runpy.run_path(str(path))).get("config")
    if not callable(function):
        raise ValueError(f"{path} has no function config(); see `wla train --help` for examples")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise ValueError(f"{path}: config() is called without arguments ({error}); give them defaults") from error
    config = _run(path, function)
    if not isinstance(config, Config):
        raise ValueError(f"{path}: config() returns a {type(config).__name__}; return a configuration")
    return config


def _run(path: Path, call: Callable[[], Any]) -> Any:
    """Returns the result of running a recipe's code. ValueError in one line, with the recipe's line at fault."""
    try:
        return call()
    except (Exception, SystemExit) as error:  # somebody's file may raise anything
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        line = error.lineno if isinstance(error, SyntaxError) and error.filename == str(path) else (lines or [None])[-1]
        where = path if line is None else f"{path}:{line}"
        raise ValueError(f"{where}: {_cause(error)}; correct the recipe") from error


def _cause(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        field = ".".join(map(str, (error.title, *first["loc"])))
        return f"{field}: {first['msg'].removeprefix('Value error, ')}"
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return text if type(error) is ValueError else f"{type(error).__name__}: {text}".removesuffix(": ")
