from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_end_to_end import collect, policy_training

from wla.policy.checkpoint import load_checkpoint
from wla.rollout.results import EpisodeResult, write_results
from wla.training import ablation
from wla.training.ablation import Ablation, ablate, compare_variants, table
from wla.training.objectives.initialization import FromBackbone

EPISODE = EpisodeResult(
    env="tabletop",
    task="place",
    setting="clean",
    embodiment="gantry",
    instruction="go",
    seed=0,
    outcome="success",
    error=None,
    steps=3,
    policy="p",
    checkpoint_sha256=None,
    subtasks=(),
    memory=(),
    subtask_metrics=None,
    versions={},
)


def run(outcomes: str) -> list[EpisodeResult]:
    """One episode per letter: s success, f failure, e error."""
    names = {"s": "success", "f": "failure", "e": "error"}
    return [replace(EPISODE, seed=100_000 + i, outcome=names[letter]) for i, letter in enumerate(outcomes)]


def test_differences_are_paired():
    full, other = compare_variants({"full": [run("ssff")], "other": [run("sfff")]})
    assert (full.successes, full.n, full.difference) == (2, 4, None)
    assert other.rate == 0.25
    assert other.difference == -0.25
    low, high = other.difference_interval
    assert low < -0.8
    assert 0.2 < high < 0.7


def test_equal_results_have_no_difference_and_crashes_form_no_pairs():
    _, same = compare_variants({"full": [run("sfsf")], "same": [run("sfsf")]})
    assert same.difference == 0
    assert same.difference_interval[1] > 0.3  # four equal pairs do not show equal rates
    _, crashed = compare_variants({"full": [run("sf")], "crashed": [run("es")]})
    assert crashed.difference == 1  # only the second episode ended in both
    assert crashed.n == 1


def test_episodes_are_paired_within_a_training_seed():
    _, other = compare_variants({"full": [run("ss"), run("ff")], "other": [run("ff"), run("ss")]})
    assert other.n == 4
    assert other.difference == 0
    assert other.difference_interval[1] > 0.5


def test_the_table_has_a_line_per_variant():
    lines = compare_variants({"full": [run("ssff")], "other": [run("sfff")]})
    assert table(lines).splitlines()[2:] == [
        "| full | 50.0 | 6.8 .. 93.2 | 4 | | |",
        "| other | 25.0 | 0.6 .. 80.6 | 4 | -25.0 | -88.2 .. +61.3 |",
    ]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    import tiny
    from test_end_to_end import loop
    from test_fine_tuning import train_backbone

    from wla.training.objectives.codec import CodecTrainConfig
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
    lines = ablate(config, tmp_path / "out")
    assert [line.variant for line in lines] == ["full", "no world", "past"]
    assert [line.difference for line in lines] == [None, -1, -1]
    assert {seeds for _, seeds in evaluations} == {range(100_000, 100_001)}
    trained = [load_checkpoint(Path(policy)) for policy, _ in evaluations]
    assert all(checkpoint.config.trained_steps == 2 for checkpoint in trained)
    first, second = (checkpoint.model.state_dict()["action_expert.final_norm.weight"] for checkpoint in trained[:2])
    assert not torch.equal(first, second)
    assert (tmp_path / "out" / "ablation.md").read_text() == table(lines)
    assert len(json.loads((tmp_path / "out" / "ablation.json").read_text())) == 3
    monkeypatch.setattr(ablation, "train", None)  # nothing is left to train
    assert ablate(config, tmp_path / "out") == lines
    with pytest.raises(ValueError, match="holds a different ablation"):
        ablate(config.replace(episodes=2), tmp_path / "out")


def test_a_variant_with_an_unknown_field_is_refused_before_training(root):
    with pytest.raises(ValueError, match=r"no field 'model.loss_weights.worlds'"):
        Ablation(
            recipe=policy_training(root, 2), variants={"a": (), "b": ("model.loss_weights.worlds=0",)}, tasks=("press",)
        )
