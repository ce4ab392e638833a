"""The text of a mapping file, with comments for the person who completes it."""

from __future__ import annotations

import json
from typing import Any

from wla.envs.gym.inspect import Draft

_HEADER = """\
# How wla drives the gymnasium environment {id}.
# Lines with TODO are what the environment does not show by itself.
# A source is a key of the observation ("pixels", "agent.pos"), or observation() for the whole, or render().
"""
_COMMENTS = {
    "id": "as registered with gymnasium",
    "module": "whose import registers it; empty where gymnasium itself or an entry point does",
    "task": "its name in results and file names",
    "embodiment": "name of the robot: policies and datasets are only used with the one that they were made for",
    "instruction": "what a policy is asked to do; or instruction_key: the key of info, after a reset, that holds it",
    "success": "the key of info that holds it, or terminated(); the first step that has it ends the episode",
    "rate_hz": "control steps a second",
    "max_steps": "the limit of an episode",
    "upside_down": "cameras whose rows come from bottom to top: look at the images written beside this file",
}
_SECTIONS = {
    "images": "camera -> source, uint8 (H, W, 3); the first one is the primary camera",
    "state": "what the robot feels: keys are concatenated in this order; frame is world, tool or joint",
    "action": 'kinds: "delta" for what adds to the state, "absolute" for what sets it. gripper: the sign that opens it',
    "kwargs": "arguments of gymnasium.make",
}


def mapping_text(draft: Draft) -> str:
    """TOML that `GymMapping.read` takes once all that is missing is filled in."""
    fields = {"upside_down": (), "kwargs": {}, **draft.fields}
    blocks = [_HEADER.format(id=fields["id"]) + "\n".join(_top(draft, fields))]
    for name, comment in _SECTIONS.items():
        blocks.append("\n".join((f"# {comment}", f"[{name}]", *_section(draft, name, fields[name]))))
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def _top(draft: Draft, fields: dict[str, Any]) -> list[str]:
    lines = []
    for name, comment in _COMMENTS.items():
        key = f"{name}_key" if f"{name}_key" in fields else name
        todo = f"TODO {draft.missing[name]}" if name in draft.missing else comment
        lines.append(f"{key} = {_value(fields.get(key, ''))}  # {todo}")
    return lines


def _section(draft: Draft, name: str, values: dict[str, Any]) -> list[str]:
    lines = [f"{_key(key)} = {_value(value)}{_todo(draft, f'{name}.{key}')}" for key, value in values.items()]
    absent = [path for path in draft.missing if path.startswith(f"{name}.") and path.partition(".")[2] not in values]
    return lines + [f"{path.partition('.')[2]} = []{_todo(draft, path)}" for path in absent]


def _todo(draft: Draft, path: str) -> str:
    return f"  # TODO {draft.missing[path]}" if path in draft.missing else ""


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() else json.dumps(name)


def _value(value: Any) -> str:
    # The strings, numbers and lists of JSON are those of TOML too.
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
