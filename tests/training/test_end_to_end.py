"""Scenes, base, codec and policy at the size of a test, trained one after the other as the recipes do it."""

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
from wla.data.lerobot.writer import DatasetWriter
from wla.data.loader import DatasetConfig
from wla.envs.registry import make_env, make_expert
from wla.models.experts.action_conditioning import ActionCondition
from wla.policy.checkpoint import load_checkpoint
from wla.training.grounding.patches import PatchTargets
from wla.training.grounding.scenes import SceneConfig, Scenes, render_scenes
from wla.training.lora import LoraConfig
from wla.training.objectives.backbone import BackboneTrainConfig
from wla.training.objectives.codec import CodecTrainConfig
from wla.training.objectives.initialization import FromBackbone, GroundingConfig
from wla.training.objectives.policy import PolicyObjective, PolicyTrainConfig
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.training.objectives.pretrained_codec import load_codec
from wla.training.objectives.world_model import WorldModelTrainConfig
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig, train
from wla.types import Observation

CAMERAS = {"front": 32, "wrist": 16}


def loop(steps: int, muon: tuple[str, ...] = (r"text\.layers",)) -> LoopConfig:
    optim = OptimConfig(steps=steps, learning_rate=1e-3, warmup=2, muon=muon)
    return LoopConfig(optim=optim, batch_size=4, log_every=1, save_every=100)


def collect(folder: Path) -> None:
    env = make_env("tabletop", task="press", image_size=32)
    expert = make_expert(env)
    with DatasetWriter(folder, env.robot_spec) as writer:
        for seed in range(2):
            raw, info = env.reset(seed=seed)
            state = expert.reset(info["instruction"])
            for _ in range(12):
                seen = Observation(**raw)
                chunk, state = expert.act(seen, state)
                writer.add_frame(seen.images, seen.state, chunk.actions[0], chunk.subtasks[0])
                raw, *_ = env.step(chunk.actions[0])
            writer.end_episode(info["instruction"], keep=True, seed=seed)
    env.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The dataset, and a trained base and codec."""
    root = tmp_path_factory.mktemp("path")
    collect(root / "data")
    model = tiny.model_config()
    base = BackboneTrainConfig(
        backbone=model.backbone,
        prompt=tiny.PROMPT,
        scenes=SceneConfig(tasks=("place",), settings=("clean",), scenes_per_variant=6, cameras=CAMERAS),
        scenes_folder=str(root / "scenes"),
        datasets=(str(root / "data"),),
        workers=1,
        vision_pretrain_steps=2,
        loop=loop(4),
    )
    train(base.build(), base.loop, root / "base")
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


def test_the_policy_that_comes_out_acts(folder, tmp_path):
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


def test_the_codec_of_a_policy_serves_another_one(folder, tmp_path):
    recipe = policy_training(folder, 1)
    policy = train(recipe.build(), recipe.loop, tmp_path / "run")
    begun = recipe.init.replace(codec=str(policy)).initialize(recipe.model, [])
    codec = load_codec(folder / "codec" / "checkpoint").state_dict()
    assert all(value.equal(codec[name]) for name, value in begun.model.codec.state_dict().items())


def test_the_world_goes_on_learning_and_nothing_else_moves(folder, tmp_path):
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
    assert (new.statistics, new.robot_spec) == (old.statistics, old.robot_spec)
    wider = world.replace(heads=6)
    new = load_checkpoint(train(wider.build(), wider.loop, tmp_path / "wider"))
    assert (new.config.model.world_expert.heads, new.config.model.world_expert.cross_heads) == (6, 6)
    state = new.model.state_dict()
    assert all(value.equal(state[key]) for key, value in old.model.state_dict().items() if "world_expert" not in key)


def test_what_is_told_in_addition_counts_nothing_at_first(folder, tmp_path):
    recipe = policy_training(folder, 1)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    changes = {"policy": str(before), "datasets": recipe.datasets, "flow_steps": 1, "action_condition_dropout": 0.5}
    told = WorldModelTrainConfig(**changes, loop=loop(2, muon=(r"world_expert\.connector",)))
    before = train(told.build(), told.loop, tmp_path / "told")
    further = told.replace(policy=str(before), num_frequencies=3, pixel_loss_weight=1.0, action_condition_dropout=0.2)
    task = further.build()
    old, new = load_checkpoint(before).model.world_expert.action_conditioner, task.model.world_expert.action_conditioner
    generator = torch.Generator().manual_seed(0)
    doing = ActionCondition(torch.randn(3, tiny.CHUNK, 5, generator=generator), torch.randn(3, 5, generator=generator))
    known = torch.ones(3, tiny.CHUNK, dtype=torch.bool)
    torch.testing.assert_close(new(doing, known), old(doing, known))
    after = load_checkpoint(train(task, further.loop, tmp_path / "further"))
    world = after.config.model.world_expert
    assert (world.pixel_loss_weight, world.actions.condition_dropout, world.actions.motion.num_frequencies) == (
        1.0,
        0.2,
        3,
    )
    trained = after.model.world_expert.action_conditioner
    added = trained.mlp[0].weight[:, old.mlp[0].in_features :]
    assert added.any(0).all()
    assert not torch.equal(trained(doing, known), old(doing, known))
    on = WorldModelTrainConfig(**changes | {"policy": str(tmp_path / "further" / "checkpoint")}, loop=loop(1, muon=()))
    assert on.build().model.config.world_expert.actions.motion == world.actions.motion
    with pytest.raises(ValueError, match="was trained with 3"):
        on.replace(num_frequencies=4).build()
    with pytest.raises(ValueError, match="set action_condition_dropout"):
        WorldModelTrainConfig(
            **changes | {"action_condition_dropout": None, "num_frequencies": 4}, loop=loop(1, muon=())
        )


TERMS = ("action", "world", "language")


def losses(out: Path) -> list[dict]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in ("step", "loss", *TERMS)} for row in rows]


@pytest.mark.parametrize("grounding", [None, GroundingConfig(samples=2, weight=0.5)])
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


def test_the_lesson_that_a_policy_takes_along_changes_the_backbone_and_is_not_shipped(folder, tmp_path):
    alone, along = (policy_training(folder, 1, share) for share in (None, GroundingConfig(samples=3, weight=0.5)))
    first, second = alone.build(), along.build()
    noise = (torch.Generator().manual_seed(7) for _ in range(2))
    (before, _), (after, _) = (micro_batch_losses(task, 0, 4, next(noise)) for task in (first, second))
    assert [before[name].item() for name in TERMS] == [after[name].item() for name in TERMS]
    assert after["loss"] > before["loss"]
    (after["loss"] - sum(w * after[n] for w, n in zip((1.0, 0.1, 0.005), TERMS, strict=True))).backward()
    taught = {name for name, value in second.module.named_parameters() if value.grad is not None and value.grad.any()}
    assert any(name.startswith("policy.backbone.stem") for name in taught)
    assert any(name.startswith("policy.backbone.text") for name in taught)
    assert any(name.startswith("grounding.heads") for name in taught)
    assert not any("expert" in name for name in taught)
    checkpoint = train(along.build(), along.loop, tmp_path / "run")
    assert load_checkpoint(checkpoint).model.state_dict().keys() == first.model.state_dict().keys()


def test_adapters_train_resume_and_ship_as_ordinary_weights(folder, tmp_path):
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


def test_scenes_of_a_lesson_are_shared_out_over_micro_batches(folder):
    recipe = policy_training(folder, 1, GroundingConfig(samples=3))
    with pytest.raises(ValueError, match=r"grounding.samples 3 is not a multiple of loop.micro_batches 2"):
        recipe.override(["loop.micro_batches=2"])


def test_the_policy_starts_from_its_base_and_codec(folder):
    task = policy_training(folder, 1).build()
    _, _, backbone, _, statistics = load_backbone(folder / "base" / "checkpoint")
    for key, value in backbone.state_dict().items():
        assert np.array_equal(task.model.backbone.state_dict()[key], value), key
    assert task.checkpoint.statistics.state == statistics.state
    codec = load_codec(folder / "codec" / "checkpoint").config
    assert task.checkpoint.config.model.codec.scaling_factor == codec.scaling_factor


def test_what_is_missing_is_named(folder, tmp_path):
    recipe = policy_training(folder, 1)
    with pytest.raises(ValueError, match="no pretrained backbone here; train one first"):
        recipe.override([f"init.backbone={tmp_path}"]).build()
    with pytest.raises(ValueError, match="no codec here; train one first"):
        recipe.override([f"init.codec={tmp_path}"]).build()


def test_a_recipe_for_another_robot_is_refused(folder):
    recipe = policy_training(folder, 1)
    expert = recipe.model.action_expert.replace(action_dim=4)
    other = recipe.model.replace(action_expert=expert)
    with pytest.raises(ValueError, match=r"model is for 4 action dimensions and .*data has 5; use"):
        recipe.replace(model=other).build()


def test_scenes_do_not_replace_what_is_no_scenes(folder):
    config = SceneConfig.load(folder / "scenes" / "scenes.json")
    with pytest.raises(ValueError, match="data: holds something else than scenes; choose another"):
        render_scenes(config, folder / "data", workers=1)
    assert (folder / "data" / "meta" / "info.json").is_file()


def test_scenes_are_rendered_once_and_know_what_the_cameras_see(folder):
    scenes = Scenes(folder / "scenes")
    config = SceneConfig.load(folder / "scenes" / "scenes.json")
    before = (folder / "scenes" / "front.npy").stat().st_mtime_ns
    render_scenes(config, folder / "scenes", workers=1)
    assert (folder / "scenes" / "front.npy").stat().st_mtime_ns == before
    assert len(scenes) == 6
    assert "bowl" in scenes.names
    targets = PatchTargets(scenes, "front", 4)
    for row, things in enumerate(scenes.objects):
        for thing in things:
            u, v, *place = thing.views["front"]
            inside = 0 <= u < 1 and 0 <= v < 1
            patches = targets.present[row, :, scenes.classes.index(thing.class_name)]
            assert patches.sum() == inside
            if inside:
                assert patches[int(4 * v) * 4 + int(4 * u)]
                np.testing.assert_allclose(
                    targets.positions[row][patches][0, scenes.classes.index(thing.class_name)] / 10, place
                )


def test_what_a_card_shows_is_part_of_what_lies_in_its_patch(tmp_path):
    config = SceneConfig(tasks=("press_count",), settings=("clean",), scenes_per_variant=6, cameras={"front": 96})
    scenes = render_scenes(config, tmp_path / "cards", workers=1)
    side = 6
    targets = PatchTargets(scenes, "front", side)
    for row, things in enumerate(scenes.objects):
        for card in (thing for thing in things if thing.name.endswith("card")):
            u, v, *_ = card.views["front"]
            lies = targets.present[row, int(side * v) * side + int(side * u)]
            told = [
                kind for kind, here in zip(scenes.classes, lies, strict=True) if here and kind.startswith(card.name)
            ]
            assert told == [f"{card.name} {card.label}"]


def test_views_point_at_the_things_they_name():
    env = make_env("tabletop", task="place")
    from wla.training.grounding.scenes import project

    strongest = {"red": [0], "green": [1], "blue": [2], "yellow": [0, 1]}
    hits, total = 0, 0
    for seed in range(12):
        image = env.sample_scene(seed)["images"]["front"]
        for thing in env.objects():
            if thing.name.endswith("block"):
                u, v, *_ = project(env.world, "front", thing.position)
                red, green, blue = image[int(96 * v), int(96 * u)].astype(int)
                channels = strongest[thing.name.split()[0]]
                others = [x for i, x in enumerate((red, green, blue)) if i not in channels]
                hits += min(image[int(96 * v), int(96 * u)][channels]) > max(others) + 30
                total += 1
    env.close()
    assert total >= 24
    assert hits >= 0.75 * total  # the arm hides some
