"""The bundled recipes: found by name from anywhere, loadable, and changeable by typed replacement and by overrides."""

from __future__ import annotations

import pytest
from setuptools import find_packages

from wla.config import Config
from wla.migrations import RENAMED_FIELDS
from wla.presets.recipe import bundled_recipes, load_recipe
from wla.recipes import nano_memory, nano_world


@pytest.mark.parametrize("name", sorted(bundled_recipes()))
def test_every_recipe_is_found_by_name_and_survives_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_recipe(name)
    config.save(tmp_path / "recipe.json")
    assert type(config).load(tmp_path / "recipe.json") == config


def test_recipes_are_part_of_the_installed_package(request):
    assert "wla.recipes" in find_packages(request.config.rootpath / "src")


def test_a_derived_recipe_differs_only_in_what_it_replaces():
    before, after = nano_memory.config(), load_recipe("nano_memory_corrected")
    assert after.loop.optim.steps == 5000
    loop = after.loop.replace(optim=after.loop.optim.replace(steps=before.loop.optim.steps))
    assert after.replace(loop=loop, datasets=before.datasets) == before


def test_replacements_are_validated():
    with pytest.raises(ValueError, match="WorldModelTrainConfig: no field 'flow_step'; did you mean 'flow_steps'"):
        nano_world.config().replace(flow_step=1)
    with pytest.raises(ValueError, match="WorldModelTrainConfig: flow_steps: Input should be a valid integer"):
        nano_world.config().replace(flow_steps="many")


def test_a_dataset_is_given_by_its_path_whatever_is_trained():
    for name in ("nano_tabletop", "nano_world"):
        (dataset,) = load_recipe(name).override(["datasets=datasets/mine"]).datasets
        assert (dataset.path, dataset.weight) == ("datasets/mine", None)
    assert load_recipe("nano_codec").override(["datasets=a,b"]).datasets == ("a", "b")


def test_old_names_of_fields_lead_to_present_ones():
    for name in bundled_recipes():
        load_recipe(name)  # imports every configuration
    fields, classes = set(), [Config]
    while classes:
        kind = classes.pop()
        classes += kind.__subclasses__()
        fields |= set(kind.model_fields)
    assert set(RENAMED_FIELDS.values()) <= fields
