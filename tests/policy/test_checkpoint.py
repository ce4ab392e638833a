from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import torch
from full_disk import full_disk
from safetensors.torch import load_file, save_file

from wla.policy.checkpoint import imagination_parts, load_checkpoint, save_checkpoint, save_parts
from wla.policy.checkpoint_files import convert_checkpoint, sha256


@pytest.fixture
def folder(tmp_path) -> Path:
    save_checkpoint(tiny.checkpoint(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_what_was_saved_comes_back(folder):
    saved, loaded = tiny.checkpoint(), load_checkpoint(folder)
    for key, value in saved.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key
    assert loaded.config == saved.config
    assert loaded.robots == saved.robots
    text = "put the red block in the bowl"
    assert loaded.tokenizer.encode(text) == saved.tokenizer.encode(text)


def test_the_weights_may_lie_outside_of_the_folder(tmp_path):
    saved = tiny.checkpoint()
    (tmp_path / "parts").mkdir()
    save_parts(saved, tmp_path / "parts", tmp_path / "others.safetensors")
    loaded = load_checkpoint(tmp_path / "parts", weights=tmp_path / "others.safetensors")
    assert loaded.config == saved.config
    assert torch.equal(loaded.model.state_dict()[KEY], saved.model.state_dict()[KEY])


def test_without_imagination_its_weights_stay_on_disk(folder):
    keys = load_checkpoint(folder, imagination=False).model.state_dict()
    assert not [key for key in keys if key.startswith(("world_expert.", "codec."))]


def edit_weights(folder: Path, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


def edit_json(path: Path, change) -> None:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


KEY = "action_expert.positions"
BAD = {
    "a missing key": (lambda f: edit_weights(f, lambda w: w.pop(KEY)), f"missing {KEY}"),
    "an extra key": (lambda f: edit_weights(f, lambda w: w.update(more=torch.zeros(1))), "extra more"),
    "another shape": (
        lambda f: edit_weights(f, lambda w: w.update({KEY: torch.zeros(2, 2)})),
        rf"{KEY} has shape \(2, 2\) instead of \(4, 16\)",
    ),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "damaged safetensors file",
    ),
    **{
        f"no {name}": (lambda f, name=name: (f / name).unlink(), f"not a checkpoint, {name} missing; pass the folder")
        for name in ("config.json", "model.safetensors", "statistics.json", "robot.json", "tokenizer.json")
    },
    "cut tokenizer": (
        lambda f: cut(f / "tokenizer.json"),
        r"tokenizer.json: damaged or no tokenizer .*; copy or train",
    ),
    "another tokenizer file": (
        lambda f: (f / "tokenizer.json").write_text("{}"),
        "tokenizer.json: damaged or no tokenizer",
    ),
    "tokenizer of another checkpoint": (
        lambda f: edit_json(f / "config.json", lambda t: t["prompt"].update(queries=9)),
        r"tokenizer.json: does not fit config.json: .*query_3.* belong together; copy the whole folder",
    ),
    "cut configuration": (lambda f: cut(f / "config.json"), "config.json: damaged, Invalid JSON.*; restore the file"),
    "binary configuration": (
        lambda f: (f / "config.json").write_bytes(b"\xff\xfe\0" * 99),
        "config.json: damaged, Invalid JSON",
    ),
    "another robot": (
        lambda f: edit_json(
            f / "robot.json", lambda t: t["observation"].update(state_names=list("abcd"), state_units=["m"] * 4)
        ),
        "config.json is for 3 state dimensions and .*robot.json has 4; use",
    ),
    "robot with another camera": (
        lambda f: edit_json(f / "robot.json", lambda t: t["observation"].update(cameras={"front": [32, 32]})),
        r"config.json needs camera 'wrist' and .*robot.json has \['front'\]",
    ),
    "an unknown field": (
        lambda f: edit_json(f / "config.json", lambda t: t["model"].update(colour="red")),
        "no field 'model.colour'; fields are ",
    ),
    "statistics upside down": (
        lambda f: edit_json(f / "statistics.json", lambda t: t["state"].update(min=[2.0] * 3, max=[1.0] * 3)),
        "min 2.0 is above max 1.0",
    ),
    "statistics of another robot": (
        lambda f: edit_json(
            f / "statistics.json", lambda t: t["state"].update(min=[0] * 7, max=[1] * 7, mean=[0] * 7, std=[1] * 7)
        ),
        "state has 3 dimensions and its statistics 7",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_checkpoints_are_named(folder, name):
    damage, message = BAD[name]
    damage(folder)
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_a_full_disk_keeps_the_old_checkpoint(folder):
    before, other = sha256(folder), tiny.checkpoint(seed=1)
    with full_disk(100_000), pytest.raises(OSError, match=r"model.safetensors: .*File too large"):
        save_checkpoint(other, folder)
    assert sha256(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_saving_again_replaces_and_changes_the_fingerprint(folder):
    before = sha256(folder)
    save_checkpoint(tiny.checkpoint(seed=1), folder)
    assert sha256(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_packing_halves_the_weights_and_keeps_the_model(folder, tmp_path):
    convert_checkpoint(folder, tmp_path / "packed")
    size = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "packed", folder)]
    assert size[0] < 0.6 * size[1]
    packed, whole = (load_checkpoint(path).model.state_dict() for path in (tmp_path / "packed", folder))
    for key, value in whole.items():
        assert packed[key].dtype == value.dtype
        torch.testing.assert_close(packed[key], value, atol=1e-3, rtol=1e-3)


def test_packing_in_8_bits_keeps_each_row_to_a_part_in_254_of_its_largest(folder, tmp_path):
    convert_checkpoint(folder, tmp_path / "packed", "int8")
    size = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "packed", folder)]
    assert size[0] < 0.45 * size[1]
    packed, whole = (load_checkpoint(path).model.state_dict() for path in (tmp_path / "packed", folder))
    for key, value in whole.items():
        assert packed[key].dtype == value.dtype
        if value.dim() > 1 and value.is_floating_point():
            largest = value.abs().flatten(1).amax(dim=1)
            error = (packed[key] - value).abs().flatten(1).amax(dim=1)
            assert (error <= largest / 254 * 1.01 + 1e-12).all(), key
        else:
            torch.testing.assert_close(packed[key], value, atol=1e-3, rtol=1e-3)


def test_packing_twice_changes_nothing_more(folder, tmp_path):
    convert_checkpoint(folder, tmp_path / "packed", "int8")
    convert_checkpoint(tmp_path / "packed", tmp_path / "again", "int8")
    once, twice = (load_checkpoint(tmp_path / name).model.state_dict() for name in ("packed", "again"))
    for key, value in once.items():
        torch.testing.assert_close(twice[key], value, atol=1e-6, rtol=1e-5)


def test_a_copy_without_imagination_acts_and_says_what_it_lacks(folder, tmp_path):
    convert_checkpoint(folder, tmp_path / "acting", skip=imagination_parts(folder))
    acting = load_checkpoint(tmp_path / "acting", imagination=False).model.state_dict()
    assert acting.keys() == load_checkpoint(folder, imagination=False).model.state_dict().keys()
    with pytest.raises(ValueError, match="a copy for acting, without the weights that predict images"):
        load_checkpoint(tmp_path / "acting")


def test_packing_wants_weights_that_are_whole(folder, tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path}: no weights to convert"):
        convert_checkpoint(tmp_path, tmp_path / "packed")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ValueError, match="damaged safetensors file"):
        convert_checkpoint(folder, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()


def test_packing_replaces_nothing(folder, tmp_path):
    before = sha256(folder)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").write_text("mine")
    for out in (folder, tmp_path / "thesis"):
        with pytest.raises(ValueError, match=f"{out}: exists already; convert into a new folder"):
            convert_checkpoint(folder, out)
    assert sha256(folder) == before
    assert (tmp_path / "thesis" / "text").read_text() == "mine"


def test_packing_onto_a_full_disk_leaves_nothing_behind(folder, tmp_path):
    with full_disk(100_000), pytest.raises(ValueError, match=r"packed: cannot write .*; free disk space or choose"):
        convert_checkpoint(folder, tmp_path / "packed")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
