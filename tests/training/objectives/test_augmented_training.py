"""Training on augmented images: the same steps after a resume, and held-out images as they are."""

from __future__ import annotations

import tiny
import torch
from safetensors.torch import load_file
from test_policy_statistics import recipe_of

from wla.training.configs import OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.trainer import train


def recipe(folder, monkeypatch, *changes: str) -> PolicyTrainConfig:
    tiny.write_dataset(folder)
    return recipe_of(folder, monkeypatch).override(["image_augmentation.crop=0.8", *changes])


def test_a_resumed_run_sees_the_same_images(tmp_path, monkeypatch):
    whole = recipe(tmp_path / "robot", monkeypatch)
    optim = OptimConfig(steps=4, learning_rate=1e-3, final_learning_rate=1e-3, warmup=0)
    loop = whole.loop.replace(optim=optim)
    at_once = train(whole.build(), loop, tmp_path / "whole")
    train(whole.build(), loop.replace(optim=optim.replace(steps=2)), tmp_path / "parts")
    resumed = train(whole.build(), loop, tmp_path / "parts", resume=True)
    one, other = (load_file(folder / "model.safetensors") for folder in (at_once, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_held_out_images_stay_as_they_are(tmp_path, monkeypatch):
    objective = recipe(tmp_path / "robot", monkeypatch, "datasets.0.validation_fraction=0.5").build()
    plain = recipe_of(tmp_path / "robot", monkeypatch).override(["datasets.0.validation_fraction=0.5"]).build()
    seen = [each.validation.sample_batch(4, torch.Generator().manual_seed(0)).images for each in (objective, plain)]
    assert all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0])
    trained = [each.sample_batch(4, torch.Generator().manual_seed(0)) for each in (objective, plain)]
    assert trained[0].ids == trained[1].ids
    assert not torch.equal(trained[0].images["front"], trained[1].images["front"])
