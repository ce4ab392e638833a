"""What a recipe has data for: printed before training, and a policy without learned text stays silent."""

from __future__ import annotations

import pytest
import tiny
import torch

from wla.data.dataset_config import DatasetConfig
from wla.models.configs import LossWeights
from wla.policy.checkpoint import load_checkpoint
from wla.policy.wla_policy import load_policy
from wla.training.configs import OptimConfig
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromBackbone
from wla.training.trainer import LoopConfig, train


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    """A recipe of a tiny policy on a dataset that is described by the arguments of `tiny.write_dataset`."""

    def initialize(_, config, texts):
        return Initialization(config.build(), tiny.PROMPT, tiny.tokenizer())

    monkeypatch.setattr(FromBackbone, "initialize", initialize)

    def build(
        *, weights: LossWeights | None = None, actions: bool = True, batch: int = 4, **dataset
    ) -> PolicyTrainConfig:
        root = tiny.write_dataset(tmp_path / "data", **dataset)
        model = tiny.model_config()
        return PolicyTrainConfig(
            model=model if weights is None else model.replace(loss_weights=weights),
            init=FromBackbone(backbone="unused", codec="unused"),
            datasets=(DatasetConfig(path=str(root), actions=actions),),
            loop=LoopConfig(optim=OptimConfig(steps=2, learning_rate=1e-3), batch_size=batch),
        )

    return build


def act(checkpoint) -> tuple[str, ...]:
    policy = load_policy(checkpoint)
    chunk, state = policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))
    chunk, state = policy.act(tiny.observation(1), state)
    return (*chunk.subtasks, *(item.text for item in state.memory))


def test_a_policy_without_subtasks_in_its_data_stays_silent(recipe, tmp_path, capsys):
    config = recipe(subtasks=False)
    checkpoint = train(config.build(), config.loop, tmp_path / "run")
    lines = capsys.readouterr().out.splitlines()
    assert "loss action (weight 1): 20 of 20 windows, 1 of 1 datasets" in lines
    assert "loss world (weight 0.1): 12 of 20 windows, 1 of 1 datasets" in lines
    assert any("loss language (weight 0.005): no data, nothing is learned for it" in line for line in lines)
    assert not load_checkpoint(checkpoint).prompter.predicts_subtasks
    assert act(checkpoint) == ()


def test_so_does_one_whose_text_has_no_weight(recipe):
    objective = recipe(weights=LossWeights(language=0)).build()
    assert not objective.checkpoint.prompter.predicts_subtasks


def test_a_policy_with_subtasks_in_its_data_generates_them(recipe):
    objective = recipe().build()
    assert objective.checkpoint.prompter.predicts_subtasks
    assert "loss language (weight 0.005): 20 of 20 windows" in objective.description


def test_a_policy_that_generates_text_still_does_after_training_without(recipe):
    model = tiny.model_config().build()
    kept = Initialization(model, tiny.PROMPT, tiny.tokenizer(), generates_text=True).learned_prompt(labelled=False)
    assert kept == tiny.PROMPT
    new = Initialization(model, tiny.PROMPT, tiny.tokenizer()).learned_prompt(labelled=False)
    assert new is not None
    assert not new.language


def test_a_recipe_without_actions_is_one_line(recipe):
    with pytest.raises(ValueError, match=r"none has actions to learn .*; a policy needs at least one"):
        recipe(actions=False).build()
    with pytest.raises(ValueError, match=r"datasets: none are named; give at least one"):
        recipe(episodes=4).replace(datasets=()).build()


def test_a_recipe_with_nothing_to_learn_is_refused(recipe):
    with pytest.raises(ValueError, match=r"nothing to learn from \(.*loss language \(weight 1\): no data"):
        recipe(weights=LossWeights(action=0, world=0, language=1), subtasks=False).build()


def test_a_batch_that_teaches_nothing_changes_nothing(recipe, tmp_path):
    config = recipe(weights=LossWeights(action=0, world=0, language=1), length=20, batch=1)
    objective = config.build()
    objective.policy_loss.sampler.image_dropout = 1.0

    def untaught(samples: int, generator: torch.Generator):
        batch = type(objective).sample_batch(objective, samples, generator)
        batch.labels.fill_(-100)
        batch.action_mask.fill_(False)
        batch.subgoal_mask.fill_(False)
        return batch

    before = {name: value.clone() for name, value in objective.module.state_dict().items()}
    objective.sample_batch = untaught
    train(objective, config.loop, tmp_path / "run")
    assert all(value.equal(before[name]) for name, value in objective.module.state_dict().items())
