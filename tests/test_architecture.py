"""The rules of docs/architecture.md, proved on the source text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
FILES = sorted((SOURCE / "wla").rglob("*.py"))
ALL_FILES = sorted(file for folder in ("src", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py"))
FOLDERS = ("src", "tests", "benchmarks")
MAX_LINES = 400

BASE = (
    "types",
    "specs",
    "config",
    "files",
    "weights",
    "runtime",
    "progress",
    "process_pool",
    "html",
    "migrations",
    "gl",
)

# A part may import itself and whatever has a lower number. The base modules may import each other, and cli doctor.
LAYERS = {
    **dict.fromkeys(BASE, 0),
    "robots": 1,
    **dict.fromkeys(("data", "models", "envs"), 2),
    "policy": 3,
    "presets": 4,
    "rollout": 5,
    "evaluation": 6,
    **dict.fromkeys(("training", "compat", "annotate"), 7),
    "recipes": 8,
    **dict.fromkeys(("cli", "doctor"), 9),
    "__main__": 10,
}
NEIGHBOURS = {(a, b) for a in LAYERS for b in LAYERS if LAYERS[a] == LAYERS[b] == 0} | {("cli", "doctor")}
SERIALIZERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
ABSOLUTE_PATH = re.compile(r"(/(home|root|tmp|work|usr|opt|mnt|media|data|var|etc|Users)\b|[A-Za-z]:\\|~/)")


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts)


def part_of(module: str) -> str | None:
    """The part of the package that a dotted module name is in; None outside wla and for the package itself."""
    names = module.split(".")
    return names[1] if names[0] == "wla" and len(names) > 1 else None


def imported_modules(tree: ast.AST, importer: str) -> Iterator[str]:
    """Absolute names of all that is imported anywhere in a file: lazily, relatively, for types only, or by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # importer includes __init__, so level 1 drops exactly its last name.
            base = importer.split(".")[: -node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "importlib.import_module", "__import__"):
            yield from (str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant))


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


def forbidden_imports(source: str, importer: str) -> list[str]:
    part = part_of(importer)
    found = []
    for module in imported_modules(ast.parse(source), importer):
        other = part_of(module)
        if other in ("WLAPolicy", "load_policy"):
            other = "policy"
        if other in (None, part, "__version__") or (part, other) in NEIGHBOURS:
            continue
        if other not in LAYERS or LAYERS[other] >= LAYERS[part or ""]:
            found.append(f"{importer} imports {module}")
    return found


def unsafe_uses(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [name for name in imported_modules(tree, "wla.x") if name.split(".")[0] in SERIALIZERS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
            found.append("torch.load")
        if isinstance(node, ast.Call):
            found += [called(node)] if called(node) in ("eval", "exec") else []
            found += ["allow_pickle" for word in node.keywords if word.arg == "allow_pickle"]
    return found


def absolute_paths(source: str) -> list[str]:
    strings = (node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return [text for text in strings if isinstance(text, str) and ABSOLUTE_PATH.match(text)]


def test_every_part_of_the_package_has_a_place_in_the_layers() -> None:
    parts = {part_of(module_of(file)) for file in FILES} - {"__init__"}
    assert parts <= LAYERS.keys(), "give the new part a layer here and in docs/architecture.md"


@pytest.mark.parametrize("file", [file for file in FILES if file != SOURCE / "wla" / "__init__.py"], ids=module_of)
def test_imports_only_point_downwards(file: Path) -> None:
    assert forbidden_imports(file.read_text("utf-8"), module_of(file)) == []


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_source_is_documented_safe_and_free_of_absolute_paths(file: Path) -> None:
    source = file.read_text("utf-8")
    assert ast.get_docstring(ast.parse(source)), "a module says what it is for"
    assert unsafe_uses(source) == []
    assert absolute_paths(source) == []


def test_files_are_small() -> None:
    files = (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    lengths = {str(file.relative_to(ROOT)): len(file.read_text("utf-8").splitlines()) for file in files}
    assert {name: lines for name, lines in lengths.items() if lines >= MAX_LINES} == {}


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("wla.data.loader", "import wla.models.wla"),
        ("wla.data.loader", "from wla.models import wla"),
        ("wla.data.loader", "from wla import models"),
        ("wla.models.wla", "def late():\n    from wla.policy.memory import Memory"),
        ("wla.models.wla", "from ..data import loader"),
        ("wla.envs.tabletop.scene", "from ...models.wla import WLA"),
        ("wla.envs.tabletop.__init__", "from ... import policy"),
        ("wla.models.wla", "from wla import load_policy"),
        ("wla.policy.wla_policy", "if TYPE_CHECKING:\n    from wla.training.trainer import Trainer"),
        ("wla.rollout.episode", "importlib.import_module('wla.training')"),
        ("wla.runtime", "from wla.data import loader"),
        ("wla.doctor", "from wla.cli import main"),
        ("wla.policy.x", "import wla.nowhere"),
        ("wla.training.trainer", "from wla.compat.convert import convert"),
        ("wla.compat.convert", "from wla.training import trainer"),
    ],
)
def test_the_import_rule_catches(importer: str, line: str) -> None:
    assert forbidden_imports(line, importer)


@pytest.mark.parametrize(
    ("importer", "line"),
    [
        ("wla.types", "from wla.specs import RobotSpec"),
        ("wla.data.loader", "from wla.types import Batch\nfrom . import windows\nfrom .windows import cut"),
        ("wla.envs.tabletop.__init__", "from .scene import Scene"),
        ("wla.policy.wla_policy", "from wla import __version__\nfrom wla.models.wla import WLA"),
        ("wla.cli", "from wla import doctor, load_policy\nfrom wla.training import trainer"),
        ("wla.models.wla", "import torch\nfrom transformers import AutoModel"),
    ],
)
def test_the_import_rule_allows(importer: str, line: str) -> None:
    assert forbidden_imports(line, importer) == []


@pytest.mark.parametrize(
    "line",
    ["import pickle", "from joblib import load", "torch.load(f)", "read = torch.load", "eval('1')", "exec(code)",
     "np.load(f, allow_pickle=True)"],
)  # fmt: skip
def test_unsafe_uses_are_caught(line: str) -> None:
    assert unsafe_uses(line)


def test_methods_called_eval_are_no_eval() -> None:
    assert unsafe_uses("model.eval()\npyarrow.load(f)") == []


def test_absolute_paths_are_caught() -> None:
    assert absolute_paths("open('/home/me/x')\nPath('~/x')") == ["/home/me/x", "~/x"]
    assert absolute_paths("'/'\n'a/tmp/b'\n'data/chunk-000'") == []
