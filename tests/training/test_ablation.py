from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from test_comparison import run
from test_end_to_end import collect, policy_training

from wla.data.lerobot.reader import LeRobotDataset
from wla.evaluation.comparison import table
from wla.policy.checkpoint import load_checkpoint
from wla.rollout.results import write_results
from wla.training import ablation
from wla.training.ablation import ablate
from wla.training.ablation_config import Ablation, folder_name
from wla.training.objectives.initialization_kinds import FromBackbone


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    import tiny
    from test_end_to_end import loop
    from test_fine_tuning import train_backbone

    from wla.training.objectives.configs import CodecTrainConfig
    from wla.training.trainer import train

    root = tmp_path_factory.mktemp("ablation")
    collect(root / "data")
    train_backbone(root, "base", ("place",))
    codec = CodecTrainConfig(
        codec=tiny.model_config().codec, datasets=(str(root / "data"),), camera="front", loop=loop(2, muon=())
    )
    train(codec.build(), codec.loop, root / "codec")
    return root


def test_variants_are_trained_evaluated_and_compared_once(root, tmp_path, monkeypatch):
    recipe = policy_training(root, 2)
    assert isinstance(recipe.init, FromBackbone)
    config = Ablation(
        recipe=recipe,
        variants={"full": (), "no world": ("model.loss_weights.world=0",), "past": ("subgoal_offsets=[-2]",)},
        tasks=("press",),
        episodes=1,
    )
    evaluations = []

    def benchmark(config, out):
        """A fake, because the simulator's images are larger than the tiny model's."""
        evaluations.append((config.policy, config.seeds))
        out.mkdir(parents=True, exist_ok=True)
        write_results(out / "results.jsonl", run("s" if "full" in config.policy else "f"))

    monkeypatch.setattr(ablation, "run_benchmark", benchmark)
    monkeypatch.setattr(ablation, "robot_of", lambda _: LeRobotDataset(root / "data").require_robot())
    called = []
    monkeypatch.setattr(ablation, "write_calls", lambda config, out: called.append(list(config.variants)))
    lines = ablate(config, tmp_path / "out")
    assert [line.variant for line in lines] == ["full", "no world", "past"]
    assert called == [["full", "no world", "past"]]
    assert [line.difference and line.difference.estimate for line in lines] == [None, -1, -1]
    assert {seeds for _, seeds in evaluations} == {range(10_000, 10_001)}  # choosing is done on validation seeds
    trained = [load_checkpoint(Path(policy)) for policy, _ in evaluations]
    assert all(checkpoint.config.trained_steps == 2 for checkpoint in trained)
    first, second = (checkpoint.model.state_dict()["action_expert.final_norm.weight"] for checkpoint in trained[:2])
    assert not torch.equal(first, second)
    text = (tmp_path / "out" / "validation.md").read_text()
    assert text.startswith("Validation seeds 10000 to 10000 of each task and setting, to choose among variants")
    assert text.endswith(table(lines))
    assert len(json.loads((tmp_path / "out" / "validation.json").read_text())) == 3
    costs = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert [each["variant"] for each in costs] == ["full", "no world", "past"]
    assert len({(each["acting"], each["dropped"], each["frozen"]) for each in costs}) == 1  # one model
    assert all(each["training_tflop"] > 0 for each in costs)
    assert "| no world | " in (tmp_path / "out" / "costs.md").read_text()
    monkeypatch.setattr(ablation, "train", None)  # nothing is left to train
    assert ablate(config, tmp_path / "out") == lines
    evaluations.clear()
    assert len(ablate(config.replace(split="evaluation"), tmp_path / "out")) == 3  # the same runs, final figures
    assert {seeds for _, seeds in evaluations} == {range(100_000, 100_001)}
    assert "nothing may be chosen" in (tmp_path / "out" / "evaluation.md").read_text()
    assert (tmp_path / "out" / "validation.md").read_text() == text
    with pytest.raises(ValueError, match="holds a different ablation"):
        ablate(config.replace(episodes=2), tmp_path / "out")


def test_a_variant_with_an_unknown_field_is_refused_before_training(root):
    with pytest.raises(ValueError, match=r"no field 'model.loss_weights.worlds'"):
        Ablation(
            recipe=policy_training(root, 2), variants={"a": (), "b": ("model.loss_weights.worlds=0",)}, tasks=("press",)
        )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("no world", "no_world"), "'no world' and 'no_world' would share the folder no_world; rename one"),
        (("Full", "full"), "would share the folder full"),
        (("a/b", "a b"), "would share the folder a_b"),
        (("..", "b"), "has letters or digits"),
        (("", "b"), "has letters or digits"),
        (("a" * 300, "b"), "100 characters at most"),
    ],
)
def test_variants_that_would_share_a_folder_are_refused(root, names, message):
    with pytest.raises(ValueError, match=message):
        Ablation(recipe=policy_training(root, 2), variants=dict.fromkeys(names, ()), tasks=("press",))


def test_folders_of_variants_stay_below_the_ablation(root):
    assert folder_name("../a b/c: d") == "_a_b_c_d"
    assert folder_name("größer-2") == "größer-2"


def test_repeated_training_seeds_are_refused(root):
    with pytest.raises(ValueError, match="repeat one, which would count its run twice"):
        Ablation(recipe=policy_training(root, 2), variants={"a": (), "b": ()}, seeds=(0, 1, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("datasets=nowhere",), "nowhere"),
        ((), "the recipe's data .* the environment"),  # images of 32 pixels, those of the simulator have 96
        (("loop.validation_every=1",), "no held-out episodes"),
    ],
)
def test_what_is_refused_before_training_leaves_no_ablation_behind(root, tmp_path, monkeypatch, change, message):
    if change:
        monkeypatch.setattr(ablation, "robot_of", lambda _: LeRobotDataset(root / "data").require_robot())
    recipe = policy_training(root, 2).override(change)
    config = Ablation(recipe=recipe, variants={"a": (), "b": ()}, tasks=("press",))
    with pytest.raises(ValueError, match=message):
        ablate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_names_are_refused_before_training(root, tmp_path):
    config = Ablation(recipe=policy_training(root, 2), variants={"a": (), "b": ()}, tasks=("juggle",))
    with pytest.raises(ValueError, match="juggle"):
        ablate(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ValueError, match="kitchen"):
        ablate(config.replace(env="kitchen"), tmp_path / "out")


def test_any_environment_is_evaluated(root):
    config = Ablation(recipe=policy_training(root, 2), variants={"a": (), "b": ()}, env="tabletop", embodiment="scara")
    evaluation = config.evaluation("a/checkpoint", 3)
    assert (evaluation.env, evaluation.embodiment, evaluation.tasks, evaluation.setting) == (
        "tabletop",
        "scara",
        (),
        (),
    )
    assert (evaluation.split, evaluation.num_envs) == ("validation", 3)
