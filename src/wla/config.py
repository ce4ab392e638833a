"""Strict, immutable configuration: unknown keys raise, files are JSON, overrides are dotted paths."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from wla.files import atomic_write_text
from wla.migrations import FIELDS, RENAMED_FIELDS, migrate

MAX_VALUE_CHARS = 80
"""Characters of a wrong value that a message shows."""


class Config(BaseModel):
    """Base of every configuration class. Lives beside the class that it configures."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def save(self, path: Path) -> None:
        atomic_write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSON file. ValueError names the file and the first field that does not fit."""
        try:
            # Strict JSON mode, as for the file itself: what `migrate` gives back is JSON again.
            return cls.model_validate_json(_migrated(path))
        except ValidationError as error:
            raise ValueError(f"{path}: {_first_error(error)}") from error

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some fields changed, validated like a new one. ValueError for an unknown field."""
        for name in changes:
            if name not in type(self).model_fields:
                raise ValueError(unknown_field(type(self).__name__, name, type(self).model_fields))
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self).model_validate(values | changes)
        except ValidationError as error:
            raise ValueError(f"{type(self).__name__}: {_first_error(error)}") from error

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
            raise ValueError(f"override: {_first_error(error)}") from error


def unknown_field(owner: str, name: str, known: Iterable[str]) -> str:
    """Message about a field that does not exist: its present name, the nearest one, or all there are."""
    known = list(known)
    if RENAMED_FIELDS.get(name) in known:
        return f"{owner}: {name!r} is called {RENAMED_FIELDS[name]!r} now"
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"fields are {', '.join(known)}"
    return f"{owner}: no field {name!r}; {hint}"


def _migrated(path: Path) -> bytes:
    """The file's content under present names; the bytes themselves where there is nothing to rename."""
    content = path.read_bytes()
    if path.name not in FIELDS:
        return content
    try:
        tree = json.loads(content)
    except ValueError:
        return content  # validation says what is damaged, and where
    return json.dumps(migrate(path.name, tree)).encode() if isinstance(tree, dict) else content


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


def _first_error(error: ValidationError) -> str:
    item = error.errors()[0]
    if item["type"] == "json_invalid":
        return f"damaged, {item['msg']}; restore the file"
    where = ".".join(str(part) for part in item["loc"]) or "configuration"
    value = repr(item.get("input"))
    return (
        f"{where}: {item['msg']} (got {value if len(value) <= MAX_VALUE_CHARS else value[:MAX_VALUE_CHARS] + ' ...'})"
    )
