"""Scenes, backbone, codec and policy at test size, trained one after the other as in the recipes."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from micro_batch import micro_batch_losses

import wla
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.writer import DatasetWriter
from wla.envs.registry import make_env, make_expert
from wla.models.experts.action_conditioning import ActionCondition
from wla.models.experts.configs import OneStepConfig
from wla.policy.checkpoint import load_checkpoint
from wla.training.configs import LoopConfig, LoraConfig, OptimConfig
from wla.training.grounding.configs import GroundingConfig, SceneConfig
from wla.training.grounding.patches import PatchTargets
from wla.training.grounding.scenes import Scenes, render_scenes
from wla.training.objectives.configs import (
    ActionExpertTrainConfig,
    BackboneTrainConfig,
    CodecTrainConfig,
    PolicyTrainConfig,
    WorldModelTrainConfig,
)
from wla.training.objectives.initialization_kinds import FromBackbone, FromCheckpoint
from wla.training.objectives.policy import PolicyObjective
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.training.objectives.pretrained_codec import load_codec
from wla.training.trainer import train
from wla.types import Observation

CAMERAS = {"front": 32, "wrist": 16}


def loop(steps: int, muon: tuple[str, ...] = (r"text\.layers",)) -> LoopConfig:
    optim = OptimConfig(steps=steps, learning_rate=1e-3, warmup=2, muon=muon)
    return LoopConfig(optim=optim, batch_size=4, log_every=1, save_every=100)


def collect(folder: Path, first_seed: int = 0) -> None:
    env = make_env("tabletop", task="press", image_size=32)
    expert = make_expert("tabletop", env)
    with DatasetWriter(folder, env.robot_spec) as writer:
        for seed in range(first_seed, first_seed + 2):
            raw, info = env.reset(seed=seed)
            state = expert.reset(info["instruction"])
            for _ in range(12):
                observation = Observation(**raw)
                chunk, state = expert.act(observation, state)
                writer.add_frame(observation.images, observation.state, chunk.actions[0], chunk.subtasks[0])
                raw, *_ = env.step(chunk.actions[0])
            writer.end_episode(info["instruction"], keep=True, seed=seed)
    env.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A dataset, and a trained backbone and codec."""
    root = tmp_path_factory.mktemp("path")
    collect(root / "data")
    model = tiny.model_config()
    backbone = BackboneTrainConfig(
        backbone=model.backbone,
        prompt=tiny.PROMPT,
        scenes=SceneConfig(tasks=("place",), settings=("clean",), scenes_per_variant=6, cameras=CAMERAS),
        scenes_folder=str(root / "scenes"),
        datasets=(str(root / "data"),),
        workers=1,
        vision_pretrain_steps=2,
        loop=loop(4),
    )
    train(backbone.build(), backbone.loop, root / "base")
    codec = CodecTrainConfig(codec=model.codec, datasets=(str(root / "data"),), camera="front", loop=loop(3, muon=()))
    train(codec.build(), codec.loop, root / "codec")
    return root


def policy_training(folder: Path, steps: int, grounding: GroundingConfig | None = None, **changes) -> PolicyTrainConfig:
    expert = tiny.model_config().action_expert.replace(state_dim=5, action_dim=5)
    return PolicyTrainConfig(
        model=tiny.model_config().replace(action_expert=expert),
        init=FromBackbone(
            backbone=str(folder / "base" / "checkpoint"),
            codec=str(folder / "codec" / "checkpoint"),
            grounding=grounding,
        ),
        datasets=(DatasetConfig(path=str(folder / "data")),),
        loop=loop(steps),
        **changes,
    )


def test_the_trained_policy_acts(folder, tmp_path):
    recipe = policy_training(folder, 3)
    checkpoint = train(recipe.build(), recipe.loop, tmp_path / "run")
    policy = wla.load_policy(checkpoint, imagination=True)
    env = make_env("tabletop", task="press", image_size=32)
    raw, info = env.reset(seed=100_000)
    chunk, _ = policy.act(Observation(**raw), policy.reset(info["instruction"]), imagine=True)
    env.close()
    assert chunk.actions.shape == (tiny.CHUNK, 5)
    assert (chunk.actions >= env.action_space.low).all()
    assert (chunk.actions <= env.action_space.high).all()
    assert chunk.subgoal.shape == (32, 32, 3)


def test_the_codec_of_a_policy_initializes_a_different_one(folder, tmp_path):
    recipe = policy_training(folder, 1)
    policy = train(recipe.build(), recipe.loop, tmp_path / "run")
    initialized = recipe.init.replace(codec=str(policy)).initialize(recipe.model, [])
    codec = load_codec(str(folder / "codec" / "checkpoint")).state_dict()
    assert all(value.equal(codec[name]) for name, value in initialized.model.codec.state_dict().items())


def test_fine_tuning_the_world_expert_changes_nothing_else(folder, tmp_path):
    recipe = policy_training(folder, 2)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    world = WorldModelTrainConfig(
        policy=str(before),
        datasets=recipe.datasets,
        timestep_shift=4.0,
        flow_steps=1,
        loop=loop(3, muon=(r"world_expert\.connector",)),
    )
    after = train(world.build(), world.loop, tmp_path / "world")
    old, new = (load_checkpoint(path) for path in (before, after))
    changed = {key for key, value in old.model.state_dict().items() if not value.equal(new.model.state_dict()[key])}
    assert changed
    assert all(key.startswith("world_expert.") for key in changed)
    assert (new.config.model.world_expert.flow_steps, new.config.model.world_expert.timestep_shift) == (1, 4.0)
    assert new.robots == old.robots
    more_heads = world.replace(heads=6)
    new = load_checkpoint(train(more_heads.build(), more_heads.loop, tmp_path / "more_heads"))
    assert (new.config.model.world_expert.heads, new.config.model.world_expert.cross_heads) == (6, 6)
    state = new.model.state_dict()
    assert all(value.equal(state[key]) for key, value in old.model.state_dict().items() if "world_expert" not in key)


def test_fine_tuning_the_action_expert_for_one_step_changes_nothing_else(folder, tmp_path):
    recipe = policy_training(folder, 2)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    single = ActionExpertTrainConfig(
        policy=str(before),
        datasets=recipe.datasets,
        one_step=OneStepConfig(weight=1.0),
        flow_steps=1,
        action_noise=0.5,
        loop=loop(3, muon=(r"action_expert\.blocks",)),
    )
    after = train(single.build(), single.loop, tmp_path / "single")
    old, new = (load_checkpoint(path) for path in (before, after))
    state, known = new.model.state_dict(), old.model.state_dict()
    assert state["action_expert.one_step"].any()
    assert state.keys() - known.keys() == {"action_expert.one_step"}
    changed = {key for key, value in known.items() if not value.equal(state[key])}
    assert changed
    assert all(key.startswith("action_expert.") for key in changed)
    expert = new.config.model.action_expert
    assert (expert.one_step, expert.flow_steps, new.config.action_noise) == (OneStepConfig(weight=1.0), 1, 0.5)
    again = single.replace(policy=str(after), one_step=None).build().model.config.action_expert
    assert again.one_step == expert.one_step  # what is left out stays
    distilled = single.replace(distill=True)
    student = load_checkpoint(train(distilled.build(), distilled.loop, tmp_path / "distilled")).model.state_dict()
    assert student.keys() == state.keys()  # without the teacher
    assert not student["action_expert.one_step"].equal(state["action_expert.one_step"])


def test_a_policy_that_does_not_know_a_single_step_learns_one_in_more_training(folder, tmp_path):
    recipe = policy_training(folder, 1)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    model = recipe.model.replace(action_expert=recipe.model.action_expert.replace(one_step=OneStepConfig()))
    made = FromCheckpoint(policy=str(before)).initialize(model, []).model.state_dict()
    assert not made.pop("action_expert.one_step").any()
    assert all(value.equal(made[key]) for key, value in load_checkpoint(before).model.state_dict().items())


@pytest.mark.slow
def test_additional_action_features_have_no_effect_at_first(folder, tmp_path):
    recipe = policy_training(folder, 1)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    changes = {"policy": str(before), "datasets": recipe.datasets, "flow_steps": 1, "action_condition_dropout": 0.5}
    conditioned = WorldModelTrainConfig(**changes, loop=loop(2, muon=(r"world_expert\.connector",)))
    before = train(conditioned.build(), conditioned.loop, tmp_path / "conditioned")
    further = conditioned.replace(
        policy=str(before), num_frequencies=3, pixel_loss_weight=1.0, action_condition_dropout=0.2
    )
    objective = further.build()
    old = load_checkpoint(before).model.world_expert.action_conditioner
    new = objective.model.world_expert.action_conditioner
    generator = torch.Generator().manual_seed(0)
    condition = ActionCondition(
        torch.randn(3, tiny.CHUNK, 5, generator=generator), torch.randn(3, 5, generator=generator)
    )
    mask = torch.ones(3, tiny.CHUNK, dtype=torch.bool)
    torch.testing.assert_close(new(condition, mask), old(condition, mask))
    after = load_checkpoint(train(objective, further.loop, tmp_path / "further"))
    world = after.config.model.world_expert
    assert (world.pixel_loss_weight, world.actions.condition_dropout, world.actions.motion.num_frequencies) == (
        1.0,
        0.2,
        3,
    )
    trained = after.model.world_expert.action_conditioner
    added = trained.mlp[0].weight[:, old.mlp[0].in_features :]
    assert added.any(0).all()
    assert not torch.equal(trained(condition, mask), old(condition, mask))
    resumed = WorldModelTrainConfig(
        **changes | {"policy": str(tmp_path / "further" / "checkpoint")}, loop=loop(1, muon=())
    )
    assert resumed.build().model.config.world_expert.actions.motion == world.actions.motion
    with pytest.raises(ValueError, match="was trained with 3"):
        resumed.replace(num_frequencies=4).build()
    with pytest.raises(ValueError, match="set action_condition_dropout"):
        WorldModelTrainConfig(
            **changes | {"action_condition_dropout": None, "num_frequencies": 4}, loop=loop(1, muon=())
        )


TERMS = ("action", "world", "language")


def losses(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in ("step", "loss", *TERMS)} for row in rows]


@pytest.mark.parametrize(
    "grounding", [None, pytest.param(GroundingConfig(samples=2, weight=0.5), marks=pytest.mark.slow)]
)
def test_a_resumed_policy_run_repeats_its_losses_bit_for_bit(folder, tmp_path, grounding):
    recipe = policy_training(folder, 24, grounding)
    train(recipe.build(), recipe.loop, tmp_path / "whole")

    class Interrupted(PolicyObjective):
        def compute_losses(self, step, batch, device, generator):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().compute_losses(step, batch, device, generator)

    with pytest.raises(KeyboardInterrupt, match="after step 4"):
        train(Interrupted(recipe), recipe.loop, tmp_path / "halves")
    train(recipe.build(), recipe.loop, tmp_path / "halves", resume=True)
    assert losses(tmp_path / "halves") == losses(tmp_path / "whole")


def test_grounding_trains_the_backbone_and_is_not_part_of_the_checkpoint(folder, tmp_path):
    plain, grounded = (policy_training(folder, 1, each) for each in (None, GroundingConfig(samples=3, weight=0.5)))
    first, second = plain.build(), grounded.build()
    noise = (torch.Generator().manual_seed(7) for _ in range(2))
    (before, _), (after, _) = (micro_batch_losses(each, 0, 4, next(noise)) for each in (first, second))
    assert [before[name].item() for name in TERMS] == [after[name].item() for name in TERMS]
    assert after["loss"] > before["loss"]
    (after["loss"] - sum(w * after[n] for w, n in zip((1.0, 0.1, 0.005), TERMS, strict=True))).backward()
    trained = {name for name, value in second.module.named_parameters() if value.grad is not None and value.grad.any()}
    assert any(name.startswith("policy.backbone.stem") for name in trained)
    assert any(name.startswith("policy.backbone.text") for name in trained)
    assert any(name.startswith("grounding.heads") for name in trained)
    assert not any("expert" in name for name in trained)
    checkpoint = train(grounded.build(), grounded.loop, tmp_path / "run")
    assert load_checkpoint(checkpoint).model.state_dict().keys() == first.model.state_dict().keys()


@pytest.mark.slow
def test_adapters_train_resume_and_are_saved_as_ordinary_weights(folder, tmp_path):
    lora = LoraConfig(rank=2, alpha=4, dropout=0.1, target_modules=(r"_proj$",))
    recipe = policy_training(folder, 6, lora=lora)
    recipe = recipe.replace(loop=recipe.loop.override(["optim.muon=[]", "micro_batches=2"]))
    checkpoint = train(recipe.build(), recipe.loop, tmp_path / "whole")

    class Interrupted(PolicyObjective):
        def compute_losses(self, step, batch, device, generator):
            if step == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().compute_losses(step, batch, device, generator)

    with pytest.raises(KeyboardInterrupt, match="after step 4"):
        train(Interrupted(recipe), recipe.loop, tmp_path / "halves")
    resumed = train(recipe.build(), recipe.loop, tmp_path / "halves", resume=True)
    assert losses(tmp_path / "halves") == losses(tmp_path / "whole")
    new, again = (load_checkpoint(path).model.state_dict() for path in (checkpoint, resumed))
    assert all(value.equal(again[key]) for key, value in new.items())
    old = policy_training(folder, 1).build().model.state_dict()
    changed = {key for key, value in old.items() if not value.equal(new[key])}
    backbone = {key for key in changed if key.startswith("backbone.")}
    adapted = {key for key in old if key.startswith("backbone.text.") and key.endswith("_proj.weight")}
    assert backbone == {*adapted, "backbone.text.embed_tokens.weight"}
    assert any(key.startswith("action_expert.") for key in changed)


def test_grounding_samples_have_to_divide_among_micro_batches(folder):
    recipe = policy_training(folder, 1, GroundingConfig(samples=3))
    with pytest.raises(ValueError, match=r"grounding.samples 3 is not a multiple of loop.micro_batches 2"):
        recipe.override(["loop.micro_batches=2"])


def test_the_policy_is_initialized_from_its_backbone_and_codec(folder):
    objective = policy_training(folder, 1).build()
    _, _, backbone, _, statistics = load_backbone(folder / "base" / "checkpoint")
    for key, value in backbone.state_dict().items():
        assert np.array_equal(objective.model.backbone.state_dict()[key], value), key
    assert objective.checkpoint.robot.statistics.state == statistics.state
    codec = load_codec(str(folder / "codec" / "checkpoint")).config
    assert objective.checkpoint.config.model.codec.scaling_factor == codec.scaling_factor


def test_missing_checkpoints_are_named(folder, tmp_path):
    recipe = policy_training(folder, 1)
    with pytest.raises(ValueError, match="no pretrained backbone here; train one first"):
        recipe.override([f"init.backbone={tmp_path}"]).build()
    with pytest.raises(ValueError, match="no codec here; train one first"):
        recipe.override([f"init.codec={tmp_path}"]).build()


def test_a_recipe_for_a_different_robot_is_refused(folder):
    recipe = policy_training(folder, 1)
    expert = recipe.model.action_expert.replace(action_dim=4)
    other = recipe.model.replace(action_expert=expert)
    with pytest.raises(ValueError, match=r"model is for 4 action dimensions and .*data has 5; use"):
        recipe.replace(model=other).build()


def test_scenes_do_not_overwrite_other_files(folder):
    config = SceneConfig.load(folder / "scenes" / "scenes.json")
    with pytest.raises(ValueError, match="data: holds something else than scenes; choose another"):
        render_scenes(config, folder / "data", workers=1)
    assert (folder / "data" / "meta" / "info.json").is_file()


def test_scenes_are_rendered_once_and_patch_targets_match_the_views(folder):
    scenes = Scenes(folder / "scenes")
    config = SceneConfig.load(folder / "scenes" / "scenes.json")
    before = (folder / "scenes" / "front.npy").stat().st_mtime_ns
    render_scenes(config, folder / "scenes", workers=1)
    assert (folder / "scenes" / "front.npy").stat().st_mtime_ns == before
    assert len(scenes) == 6
    assert "bowl" in scenes.names
    targets = PatchTargets(scenes, "front", 4)
    for row, objects in enumerate(scenes.objects):
        for scene_object in objects:
            u, v, *position = scene_object.views["front"]
            inside = 0 <= u < 1 and 0 <= v < 1
            class_index = scenes.classes.index(scene_object.class_name)
            patches = targets.present[row, :, class_index]
            assert patches.sum() == inside
            if inside:
                assert patches[int(4 * v) * 4 + int(4 * u)]
                np.testing.assert_allclose(targets.positions[row][patches][0, class_index] / 10, position)


def test_the_label_of_a_card_is_part_of_its_class(tmp_path):
    config = SceneConfig(tasks=("press_count",), settings=("clean",), scenes_per_variant=6, cameras={"front": 96})
    scenes = render_scenes(config, tmp_path / "cards", workers=1)
    side = 6
    targets = PatchTargets(scenes, "front", side)
    for row, objects in enumerate(scenes.objects):
        for card in (each for each in objects if each.name.endswith("card")):
            u, v, *_ = card.views["front"]
            present = targets.present[row, int(side * v) * side + int(side * u)]
            classes = [name for name, here in zip(scenes.classes, present, strict=True) if here]
            assert [name for name in classes if name.startswith(card.name)] == [f"{card.name} {card.label}"]
