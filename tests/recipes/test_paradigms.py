"""The comparison of ways to join world and action: sizes, and two steps of each of its variants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wla
from wla.data.lerobot.reader import LeRobotDataset
from wla.models import PolicyModelConfig
from wla.models.parameter_counts import parameter_counts
from wla.presets import VQ_CODEC
from wla.recipes import paradigms, paradigms_fewer_actions
from wla.rollout.collect import collect
from wla.rollout.configs import CollectConfig
from wla.training import CodecTrainConfig, LoopConfig, OptimConfig, train
from wla.types import Observation

NAMES = tuple(paradigms.variants())


def model_of(name: str) -> PolicyModelConfig:
    return paradigms.recipe().override(paradigms.variants()[name]).model


def test_there_is_a_row_for_each_class() -> None:
    assert len(NAMES) == 8
    kinds = [model_of(name).kind for name in NAMES]
    assert kinds.count("joint") == 2
    assert len(set(kinds)) == 7


@pytest.mark.parametrize("name", NAMES[1:])
def test_parameters_that_act_differ_by_five_percent_at_most(name: str) -> None:
    ours, other = (parameter_counts(model_of(each).build()).acting for each in (NAMES[0], name))
    assert abs(other / ours - 1) < 0.05


def test_fewer_actions_change_nothing_else() -> None:
    config = paradigms_fewer_actions.config()
    for name, overrides in config.variants.items():
        before = paradigms.recipe().override(paradigms.variants()[name.rpartition(", ")[0]])
        changed = config.recipe.override(overrides)
        fraction = float(name.rpartition(", ")[2].rstrip("%")) / 100
        assert changed.datasets[0].action_fraction == fraction
        assert changed.replace(datasets=before.datasets) == before


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("paradigms")
    collect(CollectConfig(tasks=("place",), episodes=2, perturb=False), root / "data")
    loop = LoopConfig(optim=OptimConfig(steps=1, learning_rate=1e-3, warmup=1), batch_size=2)
    codec = CodecTrainConfig(codec=VQ_CODEC, datasets=(str(root / "data"),), camera="front", loop=loop)
    train(codec.build(), loop, root / "codec")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_variant_trains_two_steps_and_acts(name: str, root: Path, tmp_path: Path) -> None:
    overrides = [*paradigms.variants()[name], f"datasets={root / 'data'}"]
    overrides += ["loop.optim.steps=2", "loop.optim.warmup=1", "loop.batch_size=4", "loop.log_every=1"]
    overrides.append(f"init.codec={root / 'codec'}" if model_of(name).kind == "world_vla" else "init.grounding=null")
    recipe = paradigms.recipe().override(overrides)
    policy = wla.load_policy(train(recipe.build(), recipe.loop, tmp_path / "run"))
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(rows[-1][term] > 0 for term in policy.model.loss_targets)
    data = LeRobotDataset(root / "data")
    images = {camera: data.random_access_frames(camera)[np.array([0])][0] for camera in data.cameras}
    chunk, _ = policy.act(Observation(images, data.state[0]), policy.reset("put the block in the bowl"))
    assert chunk.actions.shape == (8, 5)
