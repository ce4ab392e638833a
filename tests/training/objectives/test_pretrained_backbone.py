"""The bundled backbone for other cameras than those of its pretraining."""

from __future__ import annotations

import math

import pytest
import torch

from wla.models.backbones.configs import NanoBackboneConfig
from wla.presets import nano_backbone, nano_model
from wla.training.grounding.configs import GroundingConfig
from wla.training.objectives.initialization_kinds import FromBackbone
from wla.training.objectives.pretrained_backbone import PretrainedBackbone, adapt_cameras, load_backbone


@pytest.fixture(scope="module")
def pretrained() -> PretrainedBackbone:
    return load_backbone("nano-base")


@pytest.mark.parametrize(
    "cameras", [{"top": 96}, {"wrist": 48}, {"a": 128, "b": 64, "c": 48, "d": 48}, {"front": 96, "wrist": 48}]
)
def test_it_loads_for_any_cameras(pretrained, cameras):
    backbone = nano_backbone(cameras).build()
    backbone.load_state_dict(adapt_cameras(pretrained.backbone, cameras))
    assert backbone.image_tokens == {camera: (side // 16) ** 2 for camera, side in cameras.items()}
    for name, value in pretrained.backbone.text.state_dict().items():
        assert torch.equal(value, backbone.text.state_dict()[name])


def test_positions_are_those_of_the_camera_or_else_of_the_primary_one(pretrained):
    known = pretrained.backbone.stem.positions
    found = adapt_cameras(pretrained.backbone, {"wrist": 48, "top": 96, "side": 192})
    assert torch.equal(found["stem.positions.wrist"], known["wrist"])
    assert torch.equal(found["stem.positions.top"], known["front"])
    wide = found["stem.positions.side"]
    side = math.isqrt(len(wide))
    grid = wide.view(side, side, -1)
    old = known["front"].view(side // 2, side // 2, -1)
    pooled = grid.view(side // 2, 2, side // 2, 2, -1).mean((1, 3))
    assert torch.nn.functional.cosine_similarity(pooled.flatten(), old.flatten(), dim=0) > 0.95


@pytest.mark.parametrize(
    ("cameras", "message"), [({"top": 100}, "'top' has 100 pixels, give a multiple of 16"), ({}, "at least one")]
)
def test_cameras_that_do_not_divide_into_patches_are_refused(cameras, message):
    with pytest.raises(ValueError, match=message):
        nano_backbone(cameras)
    assert NanoBackboneConfig(vocabulary=8, image_token=1, cameras={"a": 32}).stride == 16


def test_texts_of_the_datasets_get_tokens_of_their_own():
    model = nano_model(state_dim=6, action_dim=6, chunk=4, cameras={"top": 96})
    text = "schraube den gelben Deckel auf das Glas"
    init = FromBackbone(backbone="nano-base", codec="nano-tabletop")
    plain, own = (init.initialize(model, texts).tokenizer for texts in ((), (text,)))
    assert len(own.encode(text)) < len(plain.encode(text)) / 2
    assert own.encode("put the red block") == plain.encode("put the red block")


def test_scenes_of_other_cameras_are_no_auxiliary_objective():
    model = nano_model(state_dim=5, action_dim=5, chunk=4, cameras={"top": 96})
    init = FromBackbone(backbone="nano-base", codec="nano-tabletop", grounding=GroundingConfig(samples=8, weight=0.1))
    with pytest.raises(ValueError, match=r"init\.grounding: the scenes of nano-base have the cameras"):
        init.initialize(model, ())
