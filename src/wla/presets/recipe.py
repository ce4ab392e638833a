"""Loading of recipes: Python files with a function `config()`, those of the package by name."""

from __future__ import annotations

import runpy
from importlib import resources
from pathlib import Path
from typing import Any

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
    if path.suffix == ".py" and path.is_file():
        return path
    near = nearest(path.stem, known)
    hint = f"did you mean {near!r}?" if near else f"bundled recipes are {', '.join(known)}"
    raise ValueError(f"no recipe {str(name)!r}: neither a bundled name nor a .py file; {hint}")


def load_recipe(name: str | Path) -> Any:
    """Returns the configuration that `config()` of a recipe returns.

    Args:
        name: name of a bundled recipe (``nano_tabletop``) or path of a .py file.

    Raises:
        ValueError: no such recipe, or the file has no function ``config()``.
    """
    path = find_recipe(name)
    names = runpy.run_path(str(path))
    if "config" not in names:
        raise ValueError(f"{path} has no function config(); see `wla train --help` for examples")
    return names["config"]()
