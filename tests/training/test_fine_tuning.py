"""A finished nano policy goes on: its backbone taught new things and words, its prompts told the past."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from test_end_to_end import CAMERAS, collect, loop, policy_training

import wla
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory import MemoryConfig
from wla.policy.checkpoint import load_checkpoint
from wla.rollout.memory_replay import recorded_observation
from wla.training.grounding.scenes import SceneConfig
from wla.training.objectives.backbone import BackboneTrainConfig
from wla.training.objectives.codec import CodecTrainConfig
from wla.training.objectives.initialization import FromCheckpoint, GroundingConfig
from wla.training.objectives.policy import PolicyTrainConfig
from wla.training.objectives.pretrained_backbone import load_backbone
from wla.training.trainer import train
from wla.types import Observation


def base_of(root: Path, name: str, tasks: tuple[str, ...], policy: str | None = None) -> Path:
    recipe = BackboneTrainConfig(
        backbone=tiny.model_config().backbone,
        prompt=tiny.PROMPT,
        scenes=SceneConfig(tasks=tasks, settings=("clean",), scenes_per_variant=3, cameras=CAMERAS),
        scenes_folder=str(root / f"{name}_scenes"),
        datasets=(str(root / "data"),),
        policy=policy,
        workers=1,
        vision_pretrain_steps=1,
        loop=loop(2),
    )
    return train(recipe.build(), recipe.loop, root / name)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("on")
    collect(root / "data")
    base_of(root, "base", ("place",))
    codec = CodecTrainConfig(
        codec=tiny.model_config().codec, datasets=(str(root / "data"),), camera="front", loop=loop(2, muon=())
    )
    train(codec.build(), codec.loop, root / "codec")
    recipe = policy_training(root, 2)
    train(recipe.build(), recipe.loop, root / "policy")
    base_of(root, "new base", ("press_count", "battery_try"), policy=str(root / "policy" / "checkpoint"))
    return root


def going_on(root: Path, base: str | None = "new base", **changes) -> PolicyTrainConfig:
    before = policy_training(root, 3)
    init = FromCheckpoint(
        policy=str(root / "policy" / "checkpoint"),
        prompt=tiny.PROMPT.replace(memory=MemoryConfig(tokens=90)),
        backbone=None if base is None else str(root / base / "checkpoint"),
        grounding=None if base is None else GroundingConfig(samples=2, weight=0.1),
    )
    return before.replace(init=init, **changes)


def seen(root: Path) -> Observation:
    return recorded_observation(LeRobotDataset(root / "data"), 3)


def test_the_experts_are_the_policy_s_and_the_backbone_is_the_base_s(root):
    task = going_on(root).build()
    before = load_checkpoint(root / "policy" / "checkpoint")
    base = load_backbone(root / "new base" / "checkpoint")
    for key, value in task.model.state_dict().items():
        name = key.removeprefix("backbone.")
        wanted = base.backbone.state_dict()[name] if name != key else before.model.state_dict()[key]
        assert torch.equal(value, wanted), key
    assert task.model.config.codec == before.config.model.codec
    assert task.checkpoint.statistics == before.statistics
    assert task.grounding is not None


def test_words_keep_their_numbers(root):
    old = load_checkpoint(root / "policy" / "checkpoint").tokenizer
    new = load_backbone(root / "new base" / "checkpoint").prompter.tokenizer
    assert old.get_vocab().items() <= new.get_vocab().items()
    for text in ("reach the button", "press the button"):
        assert old.encode(text) == new.encode(text)
    assert len(new) <= tiny.model_config().backbone.vocabulary


def test_what_things_show_is_asked(root):
    scenes = load_backbone(root / "new base" / "checkpoint").grounding()._scenes
    assert set(scenes.labels) <= {"1", "2", "3", "4", "5", "along", "across"}
    assert {"first card", "left cell"} <= set(scenes.names)


def test_it_trains_acts_and_is_told_its_memory(root, tmp_path):
    recipe = going_on(root)
    checkpoint = train(recipe.build(), recipe.loop, tmp_path / "run")
    assert load_checkpoint(checkpoint).config.prompt.memory == MemoryConfig(tokens=90)
    policy = wla.load_policy(checkpoint)
    plain, _ = policy.act(seen(root), policy.reset("press the button"))
    told, _ = policy.act(seen(root), policy.reset("press the button", memory=["reach the button"]))
    assert not np.array_equal(plain.actions, told.actions)


def test_the_same_without_words(root, tmp_path):
    recipe = going_on(root).override(
        ["model.loss_weights.language=0", "init.prompt.language=false", "init.prompt.memory=null", "loop.optim.steps=1"]
    )
    checkpoint = train(recipe.build(), recipe.loop, tmp_path / "run")
    policy = wla.load_policy(checkpoint)
    chunk, state = policy.act(seen(root), policy.reset("press the button"))
    assert chunk.subtasks == state.memory == ()


def test_a_policy_goes_on_with_the_lesson_it_came_from_and_its_own_backbone(root, tmp_path):
    recipe = going_on(root)
    checkpoint = train(recipe.build(), recipe.loop, tmp_path / "run")
    assert isinstance(recipe.init, FromCheckpoint)
    init = recipe.init.replace(policy=str(checkpoint), prompt=None)
    task = recipe.replace(init=init).build()
    before = load_checkpoint(checkpoint)
    for key, value in before.model.state_dict().items():
        assert torch.equal(value, task.model.state_dict()[key]), key
    assert task.grounding is not None
    assert task.checkpoint.config.prompt == before.config.prompt
    assert task.checkpoint.tokenizer.get_vocab() == before.tokenizer.get_vocab()


def test_a_base_with_other_words_and_a_lesson_without_a_base_are_refused(root):
    recipe = going_on(root, "new base")
    init = recipe.init.replace(policy=str(root / "policy" / "checkpoint") + "/")
    with pytest.raises(ValueError, match="has other tokens than"):
        recipe.replace(init=init).build()
    with pytest.raises(ValueError, match="grounding: is the objective of a pretrained backbone; set backbone"):
        FromCheckpoint(policy="x", grounding=GroundingConfig())
