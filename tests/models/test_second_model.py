"""The narrow waist, proved: a second kind of model is one file, without any change in the package.

`behaviour_cloning.py` beside this test is registered as an installed package registers a kind, by an entry point. It is
then trained, saved, loaded, acts and is evaluated by the ordinary code.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from behaviour_cloning import BehaviourCloning, BehaviourCloningConfig

import wla
from wla.data.loader import DatasetConfig
from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.models.model_config import model_config_class, model_kinds
from wla.policy.checkpoint import CheckpointConfig, load_checkpoint
from wla.rollout.collect import collect
from wla.rollout.configs import CollectConfig
from wla.rollout.results import read_results
from wla.training.configs import LoopConfig, LoraConfig, OptimConfig
from wla.training.memory_estimate.workload import workload
from wla.training.objectives.configs import PolicyTrainConfig, WorldModelTrainConfig
from wla.training.objectives.initialization_kinds import FromBackbone, FromCheckpoint, FromScratch
from wla.training.trainer import train
from wla.types import Observation

KIND = "behaviour_cloning"


def install(folder: Path, package: str, kind: str, value: str) -> None:
    """What pip leaves of a package with one entry point."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[wla.models]\n{kind} = {value}\n")


@pytest.fixture(autouse=True)
def fresh_kinds():
    model_config_class.cache_clear()
    yield
    model_config_class.cache_clear()


@pytest.fixture
def plugin(tmp_path, monkeypatch) -> None:
    install(tmp_path / "site", "wla-behaviour-cloning", KIND, "behaviour_cloning:BehaviourCloningConfig")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def model(spec, *, chunk: int = 4) -> BehaviourCloningConfig:
    cameras = dict.fromkeys(spec.observation.cameras, 32)
    dims = {"state_dim": spec.observation.state_dim, "action_dim": spec.action.dim}
    return BehaviourCloningConfig(cameras=cameras, chunk=chunk, **dims)


def recipe(config: BehaviourCloningConfig, data: Path, *, steps: int, **changes: object) -> PolicyTrainConfig:
    loop = LoopConfig(
        optim=OptimConfig(steps=steps, learning_rate=3e-3, warmup=2), batch_size=16, micro_batches=2, log_every=1
    )
    fields = {"model": config, "init": FromScratch(), "datasets": (DatasetConfig(path=str(data)),), "loop": loop}
    return PolicyTrainConfig(**fields | changes)


def test_it_trains_saves_loads_acts_and_is_evaluated(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collect(CollectConfig(tasks=("place",), episodes=2, perturb=False), Path("data"))
    spec = wla.load_policy("nano-tabletop").robot_spec
    config = recipe(model(spec), Path("data"), steps=30, replan_steps=4)
    folder = train(config.build(), config.loop, Path("run"))

    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["action"] < 0.7 * rows[0]["action"]
    assert rows[0]["loss"] == rows[0]["action"]
    names = sorted(path.name for path in folder.iterdir())
    files = ["README.md", "config.json", "model.safetensors", "robot.json", "statistics.json", "training_data.json"]
    assert names == files
    assert "It generates no text" in (folder / "README.md").read_text()
    assert "It predicts no images" in (folder / "README.md").read_text()

    policy = wla.load_policy(folder, imagination=True)
    assert isinstance(policy.model, BehaviourCloning)
    seen = Observation(
        {name: np.zeros((*size, 3), np.uint8) for name, size in spec.observation.cameras.items()},
        np.zeros(spec.observation.state_dim, np.float32),
    )
    chunk, state = policy.act(seen, policy.reset("put the block in the bowl"))
    assert chunk.actions.shape == (4, spec.action.dim)
    assert (chunk.subtasks, chunk.replan_steps, state.num_calls) == ((), 4, 1)
    with pytest.raises(ValueError, match="its model predicts no images"):
        policy.act(seen, state, imagine=True)
    policy.save_pretrained(tmp_path / "copy")
    assert wla.load_policy(tmp_path / "copy").checkpoint_sha256 == policy.checkpoint_sha256

    asked = EvalConfig(policy=str(folder), tasks=("place",), setting=("clean",), episodes=1, max_videos=0)
    run_benchmark(asked, Path("eval"))
    (result,) = read_results(Path("eval/results.jsonl"))
    assert result.outcome in ("success", "failure")
    assert result.checkpoint_sha256 == policy.checkpoint_sha256


def test_a_trained_one_is_fine_tuned_from_its_checkpoint(plugin, tmp_path):
    data = tiny.write_dataset(tmp_path / "data", subtasks=False)
    first = recipe(model(tiny.robot_spec()), data, steps=1)
    folder = train(first.build(), first.loop, tmp_path / "run")
    more = recipe(model(tiny.robot_spec()), data, steps=1, init=FromCheckpoint(policy=str(folder))).build()
    before = load_checkpoint(folder).model.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in more.model.state_dict().items())
    wider = model(tiny.robot_spec()).replace(width=8)
    with pytest.raises(ValueError, match="is of other sizes than the recipe's model"):
        recipe(wider, data, steps=1, init=FromCheckpoint(policy=str(folder))).build()


def test_a_recipe_is_overridden_and_stored_like_any_other(plugin, tmp_path):
    config = recipe(model(tiny.robot_spec()), tmp_path, steps=1)
    changed = config.override(["model.width=8", "model.loss_weights.action=0.5"])
    assert (changed.model.width, changed.model.loss_weights.action) == (8, 0.5)
    changed.save(tmp_path / "recipe.json")
    assert PolicyTrainConfig.load(tmp_path / "recipe.json") == changed
    (tmp_path / "config.json").write_text(json.dumps({"model": {**config.model.model_dump(), "colour": "red"}}))
    with pytest.raises(ValueError, match=r"no field 'model\.colour'; fields are .*\bwidth\b"):
        CheckpointConfig.load(tmp_path / "config.json")


def refusals(config: PolicyTrainConfig) -> dict[str, tuple[object, str]]:
    """What only a WLA can do -> how it is asked for, and the message."""
    backbone = config.replace(init=FromBackbone(backbone="nano-base", codec="nano-tabletop"))
    return {
        "a backbone": (backbone.build, "init.backbone: needs a model of kind .*'wla'.*, not 'behaviour_cloning'"),
        "the estimate": (lambda: workload(config), "the estimate: needs a model of kind 'wla'"),
        "recomputation": (config.replace(activation_checkpointing=True).build, "do not recompute"),
        "text from scratch": (config.replace(model=tiny.model_config()).build, "reads text; set init.prompt"),
        "adapters": (
            config.replace(lora=LoraConfig(rank=1, alpha=1, target_modules=("nowhere",))).build,
            "'nowhere' match",
        ),
    }


@pytest.mark.parametrize("what", ["a backbone", "the estimate", "recomputation", "text from scratch", "adapters"])
def test_missing_abilities_are_refused_in_one_line(plugin, tmp_path, what):
    data = tiny.write_dataset(tmp_path / "data", subtasks=False)
    ask, message = refusals(recipe(model(tiny.robot_spec()), data, steps=1))[what]
    with pytest.raises(ValueError, match=message) as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_a_world_expert_is_trained_of_a_wla_only(plugin, tmp_path):
    data = tiny.write_dataset(tmp_path / "data", subtasks=False)
    config = recipe(model(tiny.robot_spec()), data, steps=1)
    folder = train(config.build(), config.loop, tmp_path / "run")
    world = WorldModelTrainConfig(
        policy=str(folder), datasets=(DatasetConfig(path=str(data)),), flow_steps=1, loop=config.loop
    )
    with pytest.raises(ValueError, match=r"needs a WLA model, not one of kind 'behaviour_cloning'"):
        world.build()


def test_unknown_kinds_and_broken_packages_are_one_line_each(tmp_path, monkeypatch):
    tree = {"model": {"kind": KIND}}
    with pytest.raises(ValueError, match=f"no model kind '{KIND}'; there are wla"):
        CheckpointConfig.model_validate(tree)
    with pytest.raises(ValueError, match="names no kind of model; there are wla"):
        CheckpointConfig.model_validate({"model": {}})
    install(tmp_path / "site", "broken", KIND, "no_such_module:Config")
    install(tmp_path / "site", "wrong", "wrong", "behaviour_cloning:LossWeights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    with pytest.raises(ValueError, match=r"'behaviour_cloning': broken \(no_such_module:Config\) cannot be imported"):
        model_config_class(KIND)
    with pytest.raises(ValueError, match="is not a subclass of PolicyModelConfig"):
        model_config_class("wrong")
    install(tmp_path / "site", "other", KIND, "behaviour_cloning:BehaviourCloningConfig")
    with pytest.raises(ValueError, match=r"model kind 'behaviour_cloning' is defined twice, by .* and .*: uninstall"):
        model_kinds()


def test_a_checkpoint_of_before_there_were_kinds_is_a_wla(tmp_path):
    config = CheckpointConfig(model=tiny.model_config(), prompt=tiny.PROMPT)
    tree = json.loads(config.model_dump_json())
    del tree["model"]["kind"], tree["model"]["loss_weights"]
    (tmp_path / "config.json").write_text(json.dumps(tree))
    assert CheckpointConfig.load(tmp_path / "config.json") == config


def test_a_checkpoint_without_its_tokenizer_is_named(tmp_path):
    lacking = replace(tiny.checkpoint(), tokenizer=None)
    with pytest.raises(ValueError, match="there is no tokenizer for the prompts"):
        _ = lacking.prompter
