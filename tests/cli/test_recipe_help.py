"""`wla train RECIPE --help`: every field with its present value and description."""

from __future__ import annotations

import json

import pytest

from wla.cli import main as cli
from wla.presets.recipe import bundled_recipes, load_recipe

WIDTH = 90


@pytest.fixture(autouse=True)
def _screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def leaves(tree, path=""):
    """Paths of all values that are neither parts nor lists of parts."""
    if isinstance(tree, dict) and tree:
        return [leaf for name, each in tree.items() for leaf in leaves(each, f"{path}.{name}" if path else name)]
    if isinstance(tree, list) and tree and isinstance(tree[0], dict):
        return [leaf for index, each in enumerate(tree) for leaf in leaves(each, f"{path}.{index}")]
    return [path]


def shown(capsys, *words: str) -> str:
    assert cli.main([*words, "--help"]) == 0
    return capsys.readouterr().out.partition("Fields of ")[2]


@pytest.mark.parametrize("name", ["nano_memory_world", "nano_memory", "nano_base", "wla0_robotwin_cross_emb_videos"])
def test_every_field_is_shown_on_one_screen_width(name, capsys):
    text = shown(capsys, "train", name)
    rows = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    tree = json.loads(load_recipe(name).model_dump_json())
    # Keys of dictionaries are data, not fields.
    absent = [leaf for leaf in leaves(tree) if not any(leaf == row or leaf.startswith(f"{row}.") for row in rows)]
    assert absent == []
    body = text.partition("examples:")[0]
    assert max(map(len, body.splitlines())) <= WIDTH


def test_values_are_the_present_ones_with_type_and_description(capsys):
    text = shown(capsys, "train", "nano_tabletop", "loop.batch_size=32")
    assert "  loop.batch_size          32       int >= 1\n      Samples per step," in text
    assert "loop.optim (OptimConfig): " in text
    assert "  lora.rank             (required)        int >= 1" in text
    assert "Other kinds: init.kind=pretrained | smolvlm | chameleon | checkpoint | scratch." in " ".join(text.split())


def test_examples_at_the_end_work(capsys):
    examples = shown(capsys, "train", "nano_tabletop").partition("examples:")[2]
    commands = [line.split() for line in examples.splitlines() if line.strip().startswith("wla train")]
    assert len(commands) >= 5
    for _, _, name, *overrides in commands:
        assert load_recipe(name).override(overrides) != load_recipe(name)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["ablate", "ablate_world"], "recipe.loop.optim.steps"),
        (["estimate", "wla0_rmbench"], "model.action_expert.chunk"),
    ],
)
def test_other_commands_that_take_recipes_show_them_too(words, path, capsys):
    assert f"  {path} " in shown(capsys, *words)


def test_a_mistyped_recipe_or_field_is_one_line(capsys):
    assert cli.main(["train", "nano_wrld", "--help"]) == 2
    assert "did you mean 'nano_world'?" in capsys.readouterr().err
    assert cli.main(["train", "nano_world", "loop.optm.steps=3", "--help"]) == 2
    assert capsys.readouterr().err == "wla: error: override: no field 'loop.optm'; did you mean 'loop.optim'?\n"


def test_every_bundled_recipe_is_found_by_name():
    assert {"nano_tabletop", "ablate_world", "wla0_libero"} <= set(bundled_recipes())
