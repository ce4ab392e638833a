"""Recipes of the toy language: they train, resume bit for bit, and reward what is right and fast."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from wla.run_folder import checkpoint_folder
from wla.training import LoopConfig, OptimConfig, ToyLanguageConfig, ToyLanguageRLConfig, ToyLanguageTrainConfig, train
from wla.training.toy_language import sums
from wla.training.toy_language.checkpoint import load_language_model
from wla.training.toy_language.supervised import mask_blocks
from wla.training.toy_language.texts import write
from wla.weights import WeightFiles

TINY = ToyLanguageConfig(digits=1, block=6, width=16, layers=1, heads=2, mlp=32, threshold=0.1)


def loop(steps: int, **changes: object) -> LoopConfig:
    optim = OptimConfig(steps=steps, learning_rate=3e-3, final_learning_rate=3e-3, warmup=0)
    return LoopConfig(optim=optim, batch_size=16, log_every=1, save_every=2, device="cpu").replace(**changes)


def supervised(out: Path, steps: int = 2, **changes: object) -> Path:
    config = ToyLanguageTrainConfig(language=TINY, validation_texts=8, loop=loop(steps, **changes))
    return train(config.build(), config.loop, out)


def rl_config(start: Path, steps: int = 2, **changes: object) -> ToyLanguageRLConfig:
    few = ToyLanguageRLConfig(start=start, groups=4, group_size=4, validation_texts=8, loop=loop(steps))
    return few.replace(**changes)


def weights(run: Path) -> dict[str, torch.Tensor]:
    with WeightFiles(checkpoint_folder(run) / "toy_language.safetensors") as files:
        return {name: files[name] for name in files.shapes}


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_supervised_training_lowers_the_loss_and_its_checkpoint_writes(tmp_path):
    supervised(tmp_path / "run", 30, validation_every=30)
    found = rows(tmp_path / "run")
    assert found[-1]["loss"] < 0.9 * found[0]["loss"]
    assert {"validation/success", "validation/tokens_per_pass", "validation/passes"} <= found[-1].keys()
    config, model = load_language_model(tmp_path / "run")
    assert config == TINY
    pairs = sums.draw_sums(5, 1, "evaluation", np.random.default_rng(0))
    texts = write(model, pairs, 1, config.decoding)
    assert texts.text.tokens.shape[0] == 5


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"anchor_weight": 0.0},
        {"decoupled": False},
        {"group_filter": False},
        {"speed_weight": 0.0, "group_filter": False, "epochs": 2},
    ],
)
def test_a_run_resumes_bit_for_bit(changes, tmp_path):
    start = supervised(tmp_path / "start")
    whole = rl_config(start, 4, **changes)
    train(whole.build(), whole.loop, tmp_path / "whole")
    half = rl_config(start, 2, **changes)
    train(half.build(), half.loop, tmp_path / "half")
    train(whole.build(), whole.loop, tmp_path / "half", resume=True)
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "half")
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert rows(tmp_path / "half")[-1]["tokens_per_pass"] == rows(tmp_path / "whole")[-1]["tokens_per_pass"]


def test_texts_without_a_right_one_teach_nothing_when_groups_are_filtered(tmp_path):
    start = supervised(tmp_path / "start")
    config = rl_config(start, 1)
    train(config.build(), config.loop, tmp_path / "run")
    (row,) = rows(tmp_path / "run")
    assert (row["success"], row["kept_fraction"], row["grad_norm"]) == (0, 0, 0)
    before, after = weights(tmp_path / "start"), weights(tmp_path / "run")
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_reward_for_speed_alone_brings_more_tokens_per_pass(tmp_path):
    start = supervised(tmp_path / "start", 100)
    config = rl_config(start, 12, groups=8, group_size=8, group_filter=False, anchor_weight=0.0, kl_weight=0.0)
    train(config.build(), config.loop, tmp_path / "run")
    found = rows(tmp_path / "run")
    assert found[-1]["tokens_per_pass"] > 1.1 * found[0]["tokens_per_pass"]


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no toy language model"):
        rl_config(tmp_path).build()


def test_masks_cover_any_part_of_a_block_and_at_least_one_token():
    blocks = torch.zeros(500, 2, 6, dtype=torch.long)
    snapshots = mask_blocks(blocks, 9, torch.Generator().manual_seed(0))
    counts = snapshots.revealed.sum(-1)
    assert set(counts.flatten().tolist()) == set(range(1, 7))
    assert ((snapshots.tokens == 9) == snapshots.revealed).all()
