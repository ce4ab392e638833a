"""Files of earlier versions are read under present names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny
from safetensors.torch import load_file, save_file
from small_datasets import write_dataset

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.memory_replay import MemoryReplay
from wla.migrations import DEFAULTS, FIELDS, WEIGHT_PREFIXES, migrate, migrate_weight
from wla.models.experts.configs import ChunkConditionConfig
from wla.models.wla import WLA
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.hub import bundled
from wla.policy.value_checkpoint import ValueCheckpointConfig
from wla.rollout.results import read_results
from wla.training.objectives.configs import BackboneTrainConfig
from wla.weights import load_weights

OLD = Path(__file__).parent / "old"
STORED: dict[str, tuple[str, type[Config]]] = {
    "nano-tabletop": ("config.json", CheckpointConfig),
    "nano-memory": ("config.json", CheckpointConfig),
    "nano-base": ("base.json", BackboneTrainConfig),
    "nano-value": ("value.json", ValueCheckpointConfig),
}

FEWER_STEPS = {
    "nano-tabletop": ("model.action_expert.flow_steps=2",),
    "nano-memory": ("model.action_expert.flow_steps=4", "model.action_expert.sampling_shift=0.7"),
}
"""What was changed since."""


@pytest.mark.parametrize("name", STORED)
def test_a_bundled_configuration_as_it_was_stored_before_reads_the_same(name):
    file, kind = STORED[name]
    assert (OLD / name / file).read_text("utf-8") != (bundled()[name] / file).read_text("utf-8")
    before = kind.load(OLD / name / file).override(FEWER_STEPS.get(name, ()))
    assert before == kind.load(bundled()[name] / file)


def test_every_bundled_model_that_was_stored_before_is_covered():
    in_present_form = {"nano-metaworld"}
    assert set(STORED) == set(bundled()) - in_present_form


@pytest.mark.parametrize("file", FIELDS)
def test_present_files_stay_as_they_are(file):
    """No present name is an old one of the same place: a file that is migrated twice is the same."""
    old, new = set(FIELDS[file]), set(FIELDS[file].values())
    tree = {path: 1 for path in (*new, *DEFAULTS.get(file, {})) if "." not in path}
    assert migrate(file, dict(tree)) == tree
    assert old.isdisjoint(path for path in new if "." not in path)


def test_parts_without_a_kind_get_the_one_that_their_fields_show():
    old = {
        "recipe": {"init": {"backbone": "b", "codec": "c", "grounding": None}},
        "prompt": {"queries": 8, "locations": 64},
    }
    new = migrate("config.json", old)
    assert (new["recipe"]["init"]["kind"], new["prompt"]["kind"]) == ("backbone", "nano")
    assert migrate("config.json", {"prompt": {"kind": "chat", "locations": 64}})["prompt"]["kind"] == "chat"


def test_weights_under_old_names_are_loaded(tmp_path):
    config = tiny.model_config()
    actions = ChunkConditionConfig(action_dim=tiny.ACTION, state_dim=tiny.STATE, chunk=tiny.CHUNK)
    model = WLA(config.replace(world_expert=config.world_expert.replace(actions=actions)))
    back = {new: old for old, new in WEIGHT_PREFIXES.items()}
    stored = {}
    for key, value in model.state_dict().items():
        prefix = next((new for new in back if key.startswith(new)), "")
        stored[back.get(prefix, "") + key.removeprefix(prefix)] = value.clone().contiguous()
    assert any("doing" in key for key in stored)
    save_file(stored, tmp_path / "model.safetensors")
    again = WLA(model.config)
    load_weights(again, tmp_path / "model.safetensors")
    for key, value in model.state_dict().items():
        assert (again.state_dict()[key] == value).all(), key


def test_the_bundled_weights_have_old_names_and_are_read():
    keys = load_file(bundled()["nano-memory"] / "model.safetensors")
    assert any(migrate_weight(key) != key for key in keys)


def test_a_run_with_best_of_n_means_the_same_under_new_names():
    old = {"execute": 4, "memory_fault": "deleted", "weighing": {"candidates": 2, "afresh": True, "plain": False}}
    assert migrate("run.json", old) == {
        "replan_steps": 4,
        "memory_intervention": "delete",
        "best_of_n": {"num_candidates": 2, "memory_reset": True, "action_conditioning": True},
    }


def test_items_of_lists_are_renamed():
    old = {"case": 1, "subgoals": [{"asked_at": 3, "weighed": [{"doing": "a"}]}, {"asked_at": 5, "weighed": []}]}
    assert migrate("episode.json", old) == {
        "variant": 1,
        "subgoals": [
            {"predicted_at": 3, "scored_candidates": [{"subtask": "a"}]},
            {"predicted_at": 5, "scored_candidates": []},
        ],
    }


def test_results_of_earlier_evaluations_are_read(tmp_path):
    line = {
        "env": "tabletop", "task": "place", "setting": "clean", "embodiment": "gantry", "instruction": "go", "seed": 1,
        "outcome": "success", "error": None, "steps": 3, "policy": "p", "checkpoint_sha256": None,
        "subtasks": [[0, "a"]], "memory": [], "fingerprint": {"python": "3"},
        "words": {"windows": 2, "exact": 1, "again": 1, "borders": 0, "steps_off": 0, "missed": 1,
                  "memory_right": True},
    }  # fmt: skip
    (tmp_path / "results.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    (result,) = read_results(tmp_path / "results.jsonl")
    assert result.versions == {"python": "3"}
    assert (result.subtask_metrics.repeats, result.subtask_metrics.missed_transitions) == (1, 1)
    assert result.subtask_metrics.memory_strict


def test_datasets_with_the_old_column_are_read(tmp_path):
    root = write_dataset(tmp_path / "d")
    executed = []
    for path in sorted((root / "meta/episodes").glob("*/*.parquet")):
        table = pq.read_table(path)
        rows = [[index > 0 for index in range(length)] for length in table["length"].to_pylist()]
        place = table.column_names.index("action_executed")
        pq.write_table(table.remove_column(place).append_column("followed", pa.array(rows)), path)
        executed += [tuple(row) for row in rows]
    assert [episode.action_executed for episode in LeRobotDataset(root).episodes] == executed


def test_memory_files_with_the_old_column_are_read(tmp_path):
    replay = MemoryReplay(np.array([0, 4]), [(), ("a",)], [("a",), ("b", "c")])
    replay.save(tmp_path / "m.parquet")
    table = pq.read_table(tmp_path / "m.parquet")
    pq.write_table(table.rename_columns(["index", "memory", "window"]), tmp_path / "m.parquet")
    again = MemoryReplay.load(tmp_path / "m.parquet", np.array([0]))
    assert (list(again.memories), list(again.subtasks)) == ([(), ("a",)], [("a",), ("b", "c")])
