"""The loss on held-out episodes: the same samples each time, no effect on training, and the best checkpoint."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import tiny
import torch
from test_trainer import Toy, loop

from wla.data.dataset_config import DatasetConfig
from wla.policy.checkpoint import load_checkpoint
from wla.policy.wla_policy import load_policy
from wla.run_folder import generations
from wla.training.configs import LoopConfig, OptimConfig
from wla.training.objective import Validation
from wla.training.objectives.configs import PolicyTrainConfig
from wla.training.objectives.initialization import Initialization
from wla.training.objectives.initialization_kinds import FromBackbone
from wla.training.trainer import train


class HeldOutToy(Toy):
    """A toy with held-out samples. losses: those that are reported instead of its own, one per evaluation."""

    def __init__(self, *arguments, losses: list[float] | None = None, **options) -> None:
        super().__init__(*arguments, **options)
        self.seen: list[torch.Tensor] = []
        self._losses = losses

    @property
    def validation(self) -> Validation:
        return Validation(self.sample_batch, self._held_out, {"error": 2.0, "absent": 1.0})

    def _held_out(self, batch, device, generator):
        assert not self.net.training
        torch.rand(3)  # global random numbers, as a dropout would draw
        self.seen.append(batch)
        error = (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()
        if self._losses is not None:
            error = torch.tensor(self._losses[len(self.seen) - 1] / 2)
        return {"error": (error, len(batch)), "absent": (torch.zeros(()), 0)}


def rows(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_it_is_logged_and_changes_nothing(tmp_path):
    plain, validated = Toy(), HeldOutToy()
    train(plain, loop(7), tmp_path / "plain")
    train(validated, loop(7, validation_every=3, validation_samples=8), tmp_path / "validated")
    for ours, theirs in zip(validated.net.parameters(), plain.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    found = rows(tmp_path / "validated")
    assert [row["loss"] for row in found] == [row["loss"] for row in rows(tmp_path / "plain")]
    assert [row["step"] for row in found if "validation/loss" in row] == [2, 5, 6]
    last = found[-1]
    assert last["validation/loss"] == pytest.approx(2 * last["validation/error"])
    assert "validation/absent" not in last
    assert torch.equal(torch.stack(validated.seen[:2]), torch.stack(validated.seen[4:]))


def test_it_is_that_of_the_averaged_weights_which_the_checkpoint_holds(tmp_path):
    objective = HeldOutToy()
    train(objective, loop(6, ema=0.9, validation_every=6, validation_samples=4), tmp_path / "run")
    plain = Toy()
    train(plain, loop(6, ema=0.9), tmp_path / "plain")
    for ours, theirs in zip(objective.net.parameters(), plain.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    live = float((plain.net(objective.seen[0]) - objective.seen[0].sum(1, keepdim=True)).square().mean())
    assert rows(tmp_path / "run")[-1]["validation/error"] != pytest.approx(live, rel=1e-6)


def test_the_best_checkpoint_stays_beside_the_latest(tmp_path):
    losses = [5.0, 2.0, 3.0, 4.0, float("nan")]
    config = loop(10, validation_every=2, validation_samples=4, save_every=3, keep=1)
    train(HeldOutToy(losses=losses), config, tmp_path)
    assert (tmp_path / "best").read_text() == "000004\n"
    assert (tmp_path / "latest").read_text() == "000010\n"
    assert [path.name for path in generations(tmp_path)] == ["000004", "000010"]


def test_a_resumed_run_knows_its_best_checkpoint(tmp_path):
    config = loop(8, validation_every=2, validation_samples=4)
    stopped = HeldOutToy(losses=[5.0, 2.0], at=4, action=lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(stopped, config, tmp_path)
    (tmp_path / "best").write_text("000002\n")  # as if it had been killed before the pointer moved
    train(HeldOutToy(losses=[3.0, 1.0]), config, tmp_path, resume=True)
    assert [row["validation/loss"] for row in rows(tmp_path) if "validation/loss" in row] == [5.0, 2.0, 3.0, 1.0]
    assert (tmp_path / "best").read_text() == "000008\n"
    assert {"000004"} <= {path.name for path in generations(tmp_path)}  # 3.0 was not better


def test_without_held_out_episodes_it_is_refused_before_training(tmp_path):
    """A recipe that has no field for them is not advised to set one."""
    with pytest.raises(ValueError, match=r"loop.validation_every: .* \(Config\) has no held-out loss; leave it out"):
        train(Toy(), loop(2, validation_every=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_policy_without_held_out_episodes_says_how_to_name_some(recipe, tmp_path):
    with pytest.raises(ValueError, match=r"loop.validation_every: the recipe has no held-out episodes; set validation"):
        train(recipe.build(), recipe.loop.replace(validation_every=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def recipe(monkeypatch, tmp_path) -> PolicyTrainConfig:
    def initialize(_, config, texts):
        return Initialization(config.build(), tiny.PROMPT, tiny.tokenizer())

    monkeypatch.setattr(FromBackbone, "initialize", initialize)
    return PolicyTrainConfig(
        model=tiny.model_config(),
        init=FromBackbone(backbone="unused", codec="unused"),
        datasets=(DatasetConfig(path=str(tiny.write_dataset(tmp_path / "data", episodes=4))),),
        loop=LoopConfig(
            optim=OptimConfig(steps=2, learning_rate=1e-3), batch_size=4, log_every=1, validation_samples=8
        ),
    )


@pytest.mark.slow
def test_a_policy_is_validated_on_held_out_episodes(recipe, tmp_path):
    config = recipe.override(["datasets.0.validation_fraction=0.25", "loop.validation_every=1"])
    latest = train(config.build(), config.loop, tmp_path / "run")
    found = rows(tmp_path / "run")[-1]
    terms = {"action": 1.0, "world": 0.1, "language": 0.005}
    assert found["validation/loss"] == pytest.approx(sum(w * found[f"validation/{name}"] for name, w in terms.items()))
    without = recipe.override(["datasets.0.validation_fraction=0.25"])
    same = train(without.build(), without.loop, tmp_path / "without")
    ours, theirs = (load_checkpoint(path).model.state_dict() for path in (latest, same))
    assert all(value.equal(theirs[name]) for name, value in ours.items())
    policy = load_policy(tmp_path / "run" / "best")
    assert policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))[0].actions.shape == (4, 2)


def test_validation_datasets_have_validation_seeds(recipe, tmp_path):
    training_seeds = tiny.write_dataset(tmp_path / "more")
    wrong = recipe.override([f"validation_datasets={training_seeds}", "loop.validation_every=1"])
    with pytest.raises(ValueError, match="more: seed 0 is not for validation: use seeds from 10000 to 19999"):
        train(wrong.build(), wrong.loop, tmp_path / "run")
