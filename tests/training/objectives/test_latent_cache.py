"""Latents of a frozen codec, encoded once: equal to those of every step, made anew when something changes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from wla.cli.main import main
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.models.image_codec import ImageCodec
from wla.policy.checkpoint import save_checkpoint
from wla.training.objectives import latent_cache
from wla.training.objectives.configs import PolicyDataConfig
from wla.training.objectives.latent_cache import cached_latents, latents_of
from wla.training.objectives.policy_data import PolicyData
from wla.training.sampling import to_device


@pytest.fixture
def root(tmp_path) -> Path:
    return tiny.write_dataset(tmp_path / "place")


def windows(root: Path, checkpoint, **changes):
    config = PolicyDataConfig(datasets=(DatasetConfig(path=str(root)),), **changes)
    return PolicyData.open(config).windows(checkpoint, config)


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(self: ImageCodec, images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("images are encoded again")

    monkeypatch.setattr(ImageCodec, "encode", encode)


def test_losses_are_those_without_a_cache(root, monkeypatch):
    checkpoint = tiny.checkpoint()
    plain, cached = (
        to_device(windows(root, checkpoint, **changes).sample_batch(16, np.random.default_rng(3)), torch.device("cpu"))
        for changes in ({}, {"cache_latents": True})
    )
    assert plain.latents is None
    assert plain.ids == cached.ids
    expected = checkpoint.model.compute_loss(plain, torch.Generator().manual_seed(0))
    forbid_encoding(monkeypatch)
    found = checkpoint.model.compute_loss(cached, torch.Generator().manual_seed(0))
    assert bool(expected["world"] > 0)
    torch.testing.assert_close(found["world"], expected["world"], rtol=2e-3, atol=0)
    assert found["action"] == expected["action"]


def test_latents_are_those_of_their_frames(root):
    codec = tiny.checkpoint().model.codec
    dataset = LeRobotDataset(root)
    latents = cached_latents(dataset, "front", 32, "pad", codec)
    images = torch.from_numpy(np.asarray(dataset.camera_frames("front").cache(32).open()[[0, 7, 19]]))
    expected = codec.encode(images)
    torch.testing.assert_close(torch.from_numpy(latents[[0, 7, 19]]).float(), expected, rtol=1e-3, atol=1e-3)
    assert not latents.flags.writeable


def test_they_are_encoded_once_for_each_codec_and_state_of_the_files(root, monkeypatch):
    dataset, codec, other = LeRobotDataset(root), tiny.checkpoint(0).model.codec, tiny.checkpoint(1).model.codec
    first = cached_latents(dataset, "front", 32, "pad", codec).copy()
    assert not np.array_equal(first, cached_latents(dataset, "front", 32, "pad", other))
    with monkeypatch.context() as patch:
        forbid_encoding(patch)
        np.testing.assert_array_equal(cached_latents(LeRobotDataset(root), "front", 32, "pad", codec), first)
    video = next((root / "videos/observation.images.front").rglob("*.mp4"))
    os.utime(video, (0, 0))
    cached_latents(LeRobotDataset(root), "front", 32, "pad", codec)
    kept = [path.name for path in (root / ".cache").glob("*latents*")]
    assert len(kept) == 2, f"one for each codec, none of old files: {kept}"


def test_a_full_disk_is_one_line_and_leaves_nothing(root, monkeypatch):
    dataset, codec = LeRobotDataset(root), tiny.checkpoint().model.codec
    dataset.camera_frames("front").cache(32).open()
    monkeypatch.setattr(latent_cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(ValueError, match=r"cannot write latents .*free disk space"):
        cached_latents(dataset, "front", 32, "pad", codec)
    assert not list((root / ".cache").glob("*latents*"))


def test_what_does_not_fit_is_refused(root):
    dataset, model = LeRobotDataset(root), tiny.checkpoint().model
    with pytest.raises(ValueError, match="no camera 'side'; it has front, wrist"):
        latents_of(model, [dataset], ["side"])
    with pytest.raises(ValueError, match="30 px: this codec needs a multiple of 4"):
        cached_latents(dataset, "front", 30, "pad", model.codec)
    with pytest.raises(ValueError, match="cache_latents: are of the images as recorded"):
        PolicyDataConfig(datasets=(), cache_latents=True, image_augmentation={})


def test_the_command_makes_what_training_reads(root, tmp_path, capsys, monkeypatch):
    checkpoint = tiny.checkpoint()
    save_checkpoint(checkpoint, tmp_path / "policy")
    assert main(["data", "cache-latents", str(root), "--codec", str(tmp_path / "policy")]) == 0
    assert "20 latents of 4 x 8 x 8" in capsys.readouterr().out
    forbid_encoding(monkeypatch)
    assert windows(root, checkpoint, cache_latents=True).sample_batch(4, np.random.default_rng(0)).latents is not None
    assert main(["data", "clear-cache", str(root)]) == 0
    assert not list((root / ".cache").glob("*.npy"))
