"""Public names of the packages: those of their ``__init__.pyi``; what documents and recipes import is public."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/wla"
PACKAGES = sorted(file.parent.relative_to(SOURCE.parent).as_posix().replace("/", ".") for file in SOURCE.rglob("*.pyi"))
OPEN_MODULES = ("wla", "wla.types", "wla.specs", "wla.config", "wla.batch", "wla.recipes", "wla.envs.tabletop.tasks")
"""Modules all of whose names without an underscore are public."""
PRIVATE_ROOMS = {"wla.cli", "wla.html", "wla.recipes"}
"""Rooms that nobody imports from: the command line, the pages, and recipes, which are loaded by name."""
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
IMPORT = re.compile(r"^ *from (wla[\w.]*) import ", re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_documented(package: str) -> None:
    module = importlib.import_module(package)
    assert module.__all__
    for name in module.__all__:
        value = getattr(module, name)
        assert not (inspect.isclass(value) or inspect.isfunction(value)) or value.__doc__, (
            f"{package}.{name} has no docstring"
        )


def test_every_room_names_what_is_public() -> None:
    rooms = {f"wla.{folder.name}" for folder in SOURCE.iterdir() if (folder / "__init__.py").is_file()}
    assert rooms - PRIVATE_ROOMS <= set(PACKAGES)


@pytest.mark.parametrize(
    "file", [*DOCUMENTS, *sorted((SOURCE / "recipes").glob("*.py")), *PLUGINS], ids=lambda file: file.name
)
def test_documents_recipes_and_plugins_import_public_names_only(file: Path) -> None:
    imported = set(IMPORT.findall(file.read_text("utf-8")))
    assert imported <= {*PACKAGES, *OPEN_MODULES}


def test_public_names_are_imported_when_they_are_used() -> None:
    code = f"import sys; [__import__(name) for name in {PACKAGES}]; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
