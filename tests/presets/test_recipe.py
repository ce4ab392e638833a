"""Wrong recipes: one line each, with the file and the line at fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from wla.presets.recipe import load_recipe

OPTIM = "from wla.training.optim import OptimConfig\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"r\.py has no function config\(\)"),
        ("config = 3", r"r\.py has no function config\(\)"),
        ("def config(:", r"r\.py:1: SyntaxError: .*; correct the recipe"),
        ("import nowhere_at_all", r"r\.py:1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("\n1 / 0", r"r\.py:2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", r"r\.py:1: SystemExit: 3"),
        ("def config():\n\n    return undefined", r"r\.py:3: NameError: .*'undefined'"),
        ("def config():\n    raise ValueError('two\\nlines')", r"r\.py:2: two lines; correct the recipe"),
        ("def config():\n    raise RuntimeError", r"r\.py:2: RuntimeError; correct the recipe"),
        (OPTIM + "def config():\n    return OptimConfig(steps=0)", r"r\.py:3: OptimConfig\.steps: .*greater"),
        (OPTIM + "def config():\n    return OptimConfig()", r"r\.py:3: OptimConfig\.steps: Field required"),
        (OPTIM + "def config():\n    return OptimConfig(step=1)", r"r\.py:3: OptimConfig\.step"),
        ("def config(size):\n    return size", r"r\.py: config\(\) is called without arguments .*'size'"),
        ("def config():\n    pass", r"r\.py: config\(\) returns a NoneType; return a configuration"),
        ("def config():\n    return {}", r"r\.py: config\(\) returns a dict"),
    ],
)
def test_a_wrong_recipe_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        load_recipe(path)
    assert "\n" not in str(refused.value)


def test_a_recipe_that_is_absent_or_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no recipe '.*mine\.py': there is no such file"):
        load_recipe(tmp_path / "mine.py")
    with pytest.raises(ValueError, match=r"no recipe 'nano_tabletp': neither .*; did you mean 'nano_tabletop'\?"):
        load_recipe("nano_tabletp")
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match=r"recipe\.json: a recipe is a Python file"):
        load_recipe(tmp_path / "recipe.json")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ValueError, match="there is no such file"):
        load_recipe(tmp_path / "folder.py")


def test_a_recipe_of_ones_own_may_have_arguments_with_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(OPTIM + "def config(steps=5):\n    return OptimConfig(steps=steps)\n")
    assert load_recipe(path).steps == 5
