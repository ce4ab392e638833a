"""Strict, immutable configuration: unknown keys raise, files are JSON, overrides are dotted paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from wla.files import write_whole

SHOWN = 80
"""Characters of a wrong value that a message shows."""


class Config(BaseModel):
    """Base of every configuration class. Lives beside the class that it configures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def save(self, path: Path) -> None:
        write_whole(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSON file. ValueError names the file and the first field that does not fit."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise ValueError(f"{path}: {_first(error)}") from error

    def override(self, assignments: Sequence[str]) -> Self:
        """A copy with ``dotted.path=value`` assignments applied; values are JSON, or else plain strings."""
        tree = self.model_dump()
        for assignment in assignments:
            path, separator, text = assignment.partition("=")
            if not separator:
                raise ValueError(f"override {assignment!r} is not of the form dotted.path=value")
            _assign(tree, path, _parse(text))
        try:
            return type(self).model_validate(tree)
        except ValidationError as error:
            raise ValueError(f"override: {_first(error)}") from error


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _assign(tree: dict[str, Any], path: str, value: Any) -> None:
    node: Any = tree
    *parents, leaf = path.split(".")
    for name in parents:
        node = node.get(name) if isinstance(node, dict) else None
    if not isinstance(node, dict) or leaf not in node:
        raise ValueError(f"override: no field {path!r}; `wla train RECIPE --print-config` lists all fields")
    node[leaf] = value


def _first(error: ValidationError) -> str:
    item = error.errors()[0]
    if item["type"] == "json_invalid":
        return f"damaged, {item['msg']}; restore the file"
    where = ".".join(str(part) for part in item["loc"]) or "configuration"
    value = repr(item.get("input"))
    return f"{where}: {item['msg']} (got {value if len(value) <= SHOWN else value[:SHOWN] + ' ...'})"
