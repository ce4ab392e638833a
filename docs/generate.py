"""Pages that are made from the source: the tree with a line per file, and a reference page per package.

`python docs/generate.py` writes docs/tree.md. Building the site writes the reference too.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PLUGINS = sorted((ROOT / "plugins").glob("*/src"))
OPEN_MODULES = ("wla.types", "wla.specs", "wla.config", "wla.batch")
"""Base modules all of whose names are public."""


def summary(file: Path) -> str:
    """Returns the first sentence of a Python file's docstring."""
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"(?<=[.?])\s", first)[0]


def tree() -> str:
    """Returns the page with every Python file of the package and of its plugins, and what it is for."""
    lines = ["# Every file", "", "Made from the docstrings of the modules: `python docs/generate.py`.", ""]
    folders = {file.parent for source in (SOURCE, *PLUGINS) for file in source.rglob("*.py")}
    for folder in sorted(folders, key=lambda each: (not each.is_relative_to(SOURCE), each)):
        name = folder.relative_to(ROOT).as_posix()
        lines += [f"## {name}", "", summary(folder / "__init__.py"), ""]
        files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
        lines += [f"* [{file.name}](../{name}/{file.name}): {summary(file)}" for file in files] + [""] * bool(files)
    return "\n".join(lines).rstrip() + "\n"


def public_names(package: Path) -> list[str]:
    """Returns the names that a package's stub re-exports."""
    body = ast.parse((package / "__init__.pyi").read_text("utf-8")).body
    return [alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]


def directive(package: str, name: str) -> str:
    """Returns Sphinx's directive for a public name."""
    value = getattr(importlib.import_module(package), name)
    return "autoclass" if inspect.isclass(value) else "autofunction" if inspect.isfunction(value) else "data"


def write_reference(folder: Path) -> None:
    """Writes a page for each package with its public names, and for each open base module, and an index of them."""
    folder.mkdir(exist_ok=True)
    pages = {module: f".. automodule:: {module}\n   :members:\n" for module in OPEN_MODULES}
    for stub in sorted(SOURCE.rglob("*/*/__init__.pyi")):  # what `wla` itself names is in wla.policy
        package = ".".join(stub.parent.relative_to(SOURCE).parts)
        entries = "\n".join(f".. {directive(package, name)}:: {package}.{name}\n" for name in public_names(stub.parent))
        pages[package] = f"{summary(stub.with_suffix('.py'))}\n\n{entries}"
    for name, text in pages.items():
        (folder / f"{name}.rst").write_text(f"{name}\n{'=' * len(name)}\n\n{text}", "utf-8")
    names = "".join(f"   {name}\n" for name in sorted(pages))
    (folder / "index.rst").write_text(f"API reference\n=============\n\n.. toctree::\n\n{names}", "utf-8")


if __name__ == "__main__":
    (ROOT / "docs/tree.md").write_text(tree(), "utf-8")
