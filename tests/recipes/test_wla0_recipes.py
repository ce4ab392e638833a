"""The recipes of the published models: hyper-parameters as published, buildable without weights or network."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import init_empty_weights

from wla.models.configs import LossWeights
from wla.models.wla import WLA
from wla.presets.recipe import load_recipe
from wla.training.objectives.configs import PolicyTrainConfig

RECIPES = sorted((Path(__file__).parents[2] / "src" / "wla" / "recipes").glob("wla0_*.py"))
PUBLISHED = {  # chunk, history, action, state, first frame, language, steps, batch
    "wla0_libero": (8, 8, 7, 8, False, False, 100_000, 256),
    "wla0_robotwin": (32, 8, 16, 16, False, False, 100_000, 256),
    "wla0_robotwin_same_emb_videos": (32, 8, 14, 14, False, False, 100_000, 256),
    "wla0_robotwin_cross_emb_videos": (32, 8, 14, 14, False, False, 100_000, 256),
    "wla0_rmbench_battery_try": (32, 32, 14, 14, True, True, 30_000, 448),
    "wla0_rmbench_blocks_ranking_try": (32, 32, 14, 14, True, True, 30_000, 448),
    "wla0_rmbench_cover_blocks": (32, 32, 14, 14, True, True, 30_000, 448),
    "wla0_rmbench_press_button": (32, 32, 14, 14, True, True, 30_000, 448),
}


def test_every_published_model_has_its_recipe():
    assert {path.stem for path in RECIPES} == set(PUBLISHED)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_hyper_parameters_are_the_published_ones(path):
    recipe = load_recipe(path)
    assert isinstance(recipe, PolicyTrainConfig)
    expert, prompt, optim = recipe.model.action_expert, recipe.init.prompt, recipe.loop.optim
    first = any(name.startswith("first ") for name in recipe.model.backbone.cameras)
    assert PUBLISHED[path.stem] == (
        expert.chunk,
        prompt.history,
        expert.action_dim,
        expert.state_dim,
        first,
        prompt.language,
        optim.steps,
        recipe.loop.batch_size,
    )
    assert (optim.learning_rate, optim.final_learning_rate, optim.warmup) == (5e-5, 5e-6, 1000)
    assert (optim.weight_decay, optim.clip, optim.betas, optim.muon) == (1e-8, 1.0, (0.9, 0.95), ())
    assert recipe.model.loss_weights == LossWeights(action=1.0, world=0.1, language=0.005)
    assert (expert.noise_samples_per_chunk, expert.flow_steps, recipe.instruction_dropout) == (16, 32, 0.05)
    assert (recipe.model.world_expert.flow_steps, recipe.model.world_expert.guidance) == (30, 3.0)
    assert set(recipe.model.backbone.cameras.values()) == {256}
    assert recipe.model.target_side == 512


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_they_build_without_memory_or_network(path):
    with init_empty_weights():
        model = WLA(load_recipe(path).model)
    assert all(parameter.is_meta for parameter in model.parameters())


def test_videos_teach_no_actions():
    videos = load_recipe(RECIPES[0].with_name("wla0_robotwin_cross_emb_videos.py")).datasets
    assert [source.actions for source in videos] == [True, False]
    assert [source.weight for source in videos] == [1.0, 1.0]
