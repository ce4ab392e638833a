from __future__ import annotations

import shutil
from pathlib import Path

import library_wla
import pytest
import torch
from safetensors.torch import load_file, save_file

from wla.compat.parity import compare

OFFICIAL = Path(__file__).parents[1] / "parity" / "official_tiny"


@pytest.fixture
def folder(tmp_path) -> Path:
    return Path(shutil.copytree(OFFICIAL, tmp_path / "tiny"))


def mismatched(folder: Path) -> list[str]:
    return [difference.name for difference in compare(folder) if not difference.within_tolerance]


def test_all_outputs_of_the_published_code_are_reproduced_and_the_export_is_bit_identical():
    differences = compare(OFFICIAL)
    assert len(differences) == 11
    assert {item.name: item.max_abs_error for item in differences if not item.within_tolerance} == {}
    assert max(item.max_abs_error for item in differences) < 1e-5


@pytest.mark.parametrize("value", [0.01, float("nan")])
def test_a_changed_output_is_detected(folder, value):
    outputs = load_file(folder / "outputs.safetensors")
    outputs["world_velocity"][1, 3, 2, 0] += value
    save_file(outputs, folder / "outputs.safetensors")
    assert mismatched(folder) == ["world_velocity"]


def test_a_changed_weight_is_detected(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.connector.0.layers.0.self_attn.q_norm.gamma"][0, 0, 0] += 0.5
    save_file(weights, folder / "model.safetensors")
    names = mismatched(folder)
    assert "world_condition" in names
    assert "action_chunk" not in names


def test_an_output_that_is_absent_or_unknown_is_an_error(folder):
    outputs = load_file(folder / "outputs.safetensors")
    del outputs["latent"]
    save_file({**outputs, "other": torch.zeros(1)}, folder / "outputs.safetensors")
    with pytest.raises(ValueError, match=r"outputs.safetensors: lacks latent and has unknown other"):
        compare(folder)


def test_an_output_of_another_shape_is_an_error(folder):
    outputs = load_file(folder / "outputs.safetensors")
    save_file({**outputs, "latent": outputs["latent"][:1].clone()}, folder / "outputs.safetensors")
    with pytest.raises(ValueError, match=r"latent has shape \(1, 16, 4, 4\), the model's is \(2, 16, 4, 4\)"):
        compare(folder)


@pytest.fixture(scope="module")
def other_sizes(tmp_path_factory) -> Path:
    return library_wla.LibraryWLA().write(tmp_path_factory.mktemp("library") / "other", library_wla.inputs())


def test_the_libraries_own_models_of_other_sizes_are_reproduced(other_sizes):
    """The expected outputs are those of transformers' and diffusers' modules, without any of our model code."""
    assert mismatched(other_sizes) == []
    outputs = load_file(other_sizes / "outputs.safetensors")
    assert all(value.abs().max() > 1e-2 for value in outputs.values())
    assert outputs["query_states"].shape == (4, 2, 6, 128)
    assert outputs["world_condition"].shape == (3, 2, 12, 28)


@pytest.mark.slow
def test_every_weight_of_the_published_layout_matters(other_sizes, tmp_path):
    """Swapping a weight with another one of the same shape is detected, except for weights that nothing uses."""
    weights = load_file(other_sizes / "model.safetensors")
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name, value in weights.items():
        if name.startswith("model.") and "timestep_encoder" not in name and "action_expert.model" not in name:
            shapes.setdefault(tuple(value.shape), []).append(name)
    pairs = [(names[0], names[-1]) for names in shapes.values() if len(names) > 1]
    assert len(pairs) > 15
    for number, (one, other) in enumerate(pairs[::3]):
        folder = Path(shutil.copytree(other_sizes, tmp_path / str(number)))
        save_file({**weights, one: weights[other], other: weights[one]}, folder / "model.safetensors")
        assert mismatched(folder), f"{one} <-> {other}"
