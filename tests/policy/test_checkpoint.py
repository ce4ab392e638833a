from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from wla.policy import checkpoint as module
from wla.policy.checkpoint import load_checkpoint, pack_checkpoint, save_checkpoint, sha256


@pytest.fixture
def folder(tmp_path) -> Path:
    save_checkpoint(tiny.checkpoint(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_what_was_saved_comes_back(folder):
    saved, loaded = tiny.checkpoint(), load_checkpoint(folder)
    for key, value in saved.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], value), key
    assert loaded.config == saved.config
    assert loaded.statistics == saved.statistics
    assert loaded.robot_spec == saved.robot_spec
    text = "put the red block in the bowl"
    assert loaded.tokenizer.encode(text) == saved.tokenizer.encode(text)


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
        "damaged or no safetensors file",
    ),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json missing"),
    "an unknown field": (
        lambda f: edit_json(f / "config.json", lambda t: t["model"].update(colour="red")),
        "model.colour: Extra inputs are not permitted",
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


def test_a_full_disk_keeps_the_old_checkpoint(folder, monkeypatch):
    before = sha256(folder)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tiny.checkpoint(seed=1), folder)
    assert sha256(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_saving_again_replaces_and_changes_the_fingerprint(folder):
    before = sha256(folder)
    save_checkpoint(tiny.checkpoint(seed=1), folder)
    assert sha256(folder) != before
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


def test_packing_halves_the_weights_and_keeps_the_model(folder, tmp_path):
    pack_checkpoint(folder, tmp_path / "packed")
    size = [(path / "model.safetensors").stat().st_size for path in (tmp_path / "packed", folder)]
    assert size[0] < 0.6 * size[1]
    packed, whole = (load_checkpoint(path).model.state_dict() for path in (tmp_path / "packed", folder))
    for key, value in whole.items():
        assert packed[key].dtype == value.dtype
        torch.testing.assert_close(packed[key], value, atol=1e-3, rtol=1e-3)
