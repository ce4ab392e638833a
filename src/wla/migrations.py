"""Old names in stored files -> present names: the one table through which files of earlier versions are read.

Files are migrated as they are read and never rewritten in place. Fields of recipes, options and commands have no
aliases: an old one gets a message with the present name (`RENAMED_FIELDS`, `RENAMED_OPTIONS`, `RENAMED_COMMANDS`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MEMORY = {"prompt.memory.numbers_go_on": "prompt.memory.merge_counters"}
_SUBTASK_METRICS = {
    "words": "subtask_metrics",
    "subtask_metrics.again": "subtask_metrics.repeats",
    "subtask_metrics.borders": "subtask_metrics.transitions",
    "subtask_metrics.steps_off": "subtask_metrics.boundary_error_steps",
    "subtask_metrics.missed": "subtask_metrics.missed_transitions",
    "subtask_metrics.memory_right": "subtask_metrics.memory_strict",
    "subtask_metrics.memory_correct": "subtask_metrics.memory_strict",
    "fingerprint": "versions",
}

FIELDS: dict[str, dict[str, str]] = {
    "config.json": {
        "execute": "replan_steps",
        "model.action_expert.repeats": "model.action_expert.noise_samples_per_chunk",
        "model.action_expert.steps": "model.action_expert.flow_steps",
        "model.world_expert.steps": "model.world_expert.flow_steps",
        "model.world_expert.sees_present": "model.world_expert.condition_on_current_frame",
        "model.world_expert.noise_shift": "model.world_expert.timestep_shift",
        "model.world_expert.pixel_weight": "model.world_expert.pixel_loss_weight",
        "model.world_expert.actions.dropped": "model.world_expert.actions.condition_dropout",
        "model.world_expert.actions.motion.octaves": "model.world_expert.actions.motion.num_frequencies",
        "model.world_samples": "model.max_world_samples",
        **_MEMORY,
    },
    "base.json": {
        "look_steps": "vision_pretrain_steps",
        "scenes.per_kind": "scenes.scenes_per_variant",
        **_MEMORY,
    },
    "value.json": _MEMORY,
    "inverse.json": {
        "model.after": "model.lookahead",
        "model.points": "model.num_keypoints",
        "explained": "explained_variance",
    },
    "scenes.json": {"per_kind": "scenes_per_variant"},
    "things.jsonl": {"place": "position", "shows": "label"},
    "run.json": {
        "execute": "replan_steps",
        "memory_fault": "memory_intervention",
        "weighing": "best_of_n",
        "best_of_n.candidates": "best_of_n.num_candidates",
        "best_of_n.horizon": "best_of_n.imagination_horizon",
        "best_of_n.afresh": "best_of_n.memory_reset",
        "best_of_n.margin": "best_of_n.selection_margin",
        "best_of_n.plain": "best_of_n.action_conditioning",
        "best_of_n.budget_ms": "best_of_n.time_budget_ms",
    },
    "results.jsonl": _SUBTASK_METRICS,
    "collect.jsonl": _SUBTASK_METRICS,
    "episode.json": {
        "case": "variant",
        "subgoals.*.asked_at": "subgoals.*.predicted_at",
        "subgoals.*.due_at": "subgoals.*.target_step",
        "subgoals.*.weighed": "subgoals.*.scored_candidates",
        "subgoals.*.scored_candidates.*.chosen": "subgoals.*.scored_candidates.*.selected",
        "subgoals.*.scored_candidates.*.doing": "subgoals.*.scored_candidates.*.subtask",
        "subgoals.*.scored_candidates.*.afresh": "subgoals.*.scored_candidates.*.memory_reset",
    },
}
"""File name -> old path -> new path. Rows are applied in order; ``*`` stands for every item of a list."""

VALUES: dict[tuple[str, str], dict[Any, Any]] = {
    ("run.json", "memory_fault"): {"emptied": "clear", "deleted": "delete", "invented": "insert"},
    ("run.json", "best_of_n.plain"): {True: False, False: True},
}
"""File name and old path -> old value -> new value, where the meaning changed with the name."""

KINDS: dict[str, dict[str, dict[str, str]]] = {
    "config.json": {
        "prompt": {"locations": "nano", "system": "chat"},
        "recipe.init": {"policy": "checkpoint", "vlm": "pretrained", "codec": "backbone"},
    },
}
"""File name -> path of a part that had no `kind` -> a field that only one kind has -> this kind."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "config.json": {"model.kind": "wla", "recipe.model.kind": "wla"},
    "results.jsonl": {"protocol": "default"},
    "collect.jsonl": {"protocol": "default"},
}
"""File name -> path -> value of a field that earlier versions did not write: the only one that there was."""

WEIGHT_PREFIXES = {
    "world_expert.doing.read.": "world_expert.action_conditioner.mlp.",
    "eyes.": "keypoint_encoders.",
}
"""Old prefix of a weight's name -> new prefix."""

FILES = {"passthrough_tensors.safetensors": "carried.safetensors"}
"""Name of a file -> its old name, which is read where the present one is absent."""

COLUMNS = {"followed": "action_executed", "window": "subtasks"}
"""Old column of a parquet file that this package wrote -> new column."""

RENAMED_FIELDS = {
    "blind": "image_dropout",
    "empty_instructions": "instruction_dropout",
    "targets": "subgoal_offsets",
    "recompute": "activation_checkpointing",
    "memory_errors": "memory_augmentation",
    "start": "init",
    "base": "backbone",
    "execute": "replan_steps",
    "repeats": "noise_samples_per_chunk",
    "world_samples": "max_world_samples",
    "sees_present": "condition_on_current_frame",
    "noise_shift": "timestep_shift",
    "pixel_weight": "pixel_loss_weight",
    "dropped": "condition_dropout",
    "octaves": "num_frequencies",
    "actions_dropped": "action_condition_dropout",
    "sampling_steps": "flow_steps",
    "steps": "flow_steps",
    "decode_ahead": "cache_frames",
    "inferred": "pseudo_actions",
    "recalled": "memory_replay",
    "numbers_go_on": "merge_counters",
    "lag": "staleness",
    "forgotten": "memory_dropout",
    "windowless": "previous_subtask_dropout",
    "repeated": "item_duplication",
    "own": "policy_memory_fraction",
    "look_steps": "vision_pretrain_steps",
    "per_kind": "scenes_per_variant",
    "whole": "modules_to_save",
}
"""Old name of a recipe's field -> present name, for messages about unknown fields."""

RENAMED_OPTIONS = {
    "--execute": "--replan-steps",
    "--candidates": "--num-candidates",
    "--horizon": "--imagination-horizon",
    "--afresh": "--memory-reset-candidates",
    "--margin": "--selection-margin",
    "--plain": "--no-action-conditioning",
    "--budget-ms": "--time-budget-ms",
    "--memory-fault": "--memory-intervention",
    "--astray-share": "--random-fraction",
    "--expert-share": "--expert-fraction",
    "--record": "--action-labels",
    "--kicks": "--perturb",
    "--no-kicks": "--no-perturb",
    "--shown": "--num-report-frames",
    "--page": "--html-out",
    "--workers": "--num-envs",
}
"""Old option of the command line -> present option, for messages about unknown options."""

RENAMED_COMMANDS = {
    "compare": "eval-offline",
    "recall": "record-memory",
    "pack": "convert",
    "data infer-actions": "data label-actions",
}
"""Old command -> present command, for messages about unknown commands."""


def migrate(name: str, tree: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of the JSON file called `name` (or of one of its lines) under present names."""
    for old, new in FIELDS.get(name, {}).items():
        values = VALUES.get((name, old), {})
        _rename(tree, old.split("."), new.split(".")[-1], values)
    for path, kinds in KINDS.get(name, {}).items():
        _add_kind(tree, path.split("."), kinds)
    for path, default in DEFAULTS.get(name, {}).items():
        _fill_in(tree, path.split("."), default)
    return tree


def migrate_weight(key: str) -> str:
    """Returns the present name of a weight."""
    for old, new in WEIGHT_PREFIXES.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


def _fill_in(node: Any, path: list[str], value: Any) -> None:
    head, *rest = path
    if isinstance(node, dict) and rest:
        _fill_in(node.get(head), rest, value)
    elif isinstance(node, dict):
        node.setdefault(head, value)


def _rename(node: Any, path: list[str], new: str, values: Mapping[Any, Any]) -> None:
    head, *rest = path
    if head == "*" and isinstance(node, list):
        for item in node:
            _rename(item, rest, new, values)
    elif isinstance(node, dict) and head in node:
        if rest:
            _rename(node[head], rest, new, values)
        elif new not in node:
            value = node.pop(head)
            node[new] = values.get(value, value) if values else value


def _add_kind(node: Any, path: list[str], kinds: Mapping[str, str]) -> None:
    for name in path:
        node = node.get(name) if isinstance(node, dict) else None
    if isinstance(node, dict) and "kind" not in node:
        found = [kind for field, kind in kinds.items() if field in node]
        if found:
            node["kind"] = found[0]
