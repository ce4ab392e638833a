from __future__ import annotations

import pytest

from wla.envs.tabletop.tasks import SHORT_TASKS
from wla.presets.nano import PROMPT, nano_backbone
from wla.training.objectives.pretrained_backbone import load_backbone


def test_the_bundled_base_fits_the_recipe_of_the_policy():
    _, config, backbone, prompter, _ = load_backbone("nano-base")
    assert config.backbone == backbone.config == nano_backbone()
    assert config.prompt == PROMPT
    assert config.scenes.tasks == SHORT_TASKS
    assert all(parameter.isfinite().all() for parameter in backbone.parameters())
    assert prompter.image == config.backbone.image_token


def test_a_name_that_is_no_base_says_how_to_get_one():
    with pytest.raises(ValueError, match="nano-bass: no pretrained backbone here; train one first"):
        load_backbone("nano-bass")
