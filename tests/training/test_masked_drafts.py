"""Drafts for a finished policy's text are trained beside weights that stay what they are."""

from __future__ import annotations

import json

from test_end_to_end import collect, folder, loop, policy_training

from wla.data.dataset_config import DatasetConfig
from wla.models.configs import MaskedDraftsConfig
from wla.policy.checkpoint import load_checkpoint
from wla.training.objectives.configs import MaskedDraftsTrainConfig
from wla.training.trainer import train

__all__ = ["folder"]  # a fixture


def test_training_drafts_changes_nothing_else(folder, tmp_path):
    recipe = policy_training(folder, 2)
    before = train(recipe.build(), recipe.loop, tmp_path / "policy")
    collect(tmp_path / "held_out", 10_000)
    drafts = MaskedDraftsTrainConfig(
        policy=str(before),
        datasets=recipe.datasets,
        validation_datasets=(DatasetConfig(path=str(tmp_path / "held_out")),),
        masked_drafts=MaskedDraftsConfig(tokens=6, rank=2),
        loop=loop(3, muon=()).replace(validation_every=3),
    )
    after = train(drafts.build(), drafts.loop, tmp_path / "drafts")
    old, new = (load_checkpoint(path) for path in (before, after))
    state, known = new.model.state_dict(), old.model.state_dict()
    added = state.keys() - known.keys()
    assert added
    assert all(name.startswith("drafter.") for name in added)
    assert any(state[name].any() for name in added if name.endswith(".up"))
    assert all(value.equal(state[name]) for name, value in known.items())
    assert new.config.replace(model=old.config.model) == old.config
    assert new.config.model == old.config.model.replace(masked_drafts=drafts.masked_drafts)
    record = [json.loads(line) for line in (tmp_path / "drafts/metrics.jsonl").read_text().splitlines()]
    assert "validation/drafts" in record[-1]
    again = load_checkpoint(
        train(drafts.replace(policy=str(after)).build(), drafts.loop, tmp_path / "again")
    ).model.state_dict()
    assert again.keys() == state.keys()
