"""Strict, immutable configuration: unknown keys raise, files are JSON, overrides are dotted paths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from wla.config_errors import first_error, unknown_field
from wla.files import atomic_write_text
from wla.foreign import damaged, is_lfs_pointer
from wla.migrations import FIELDS, migrate
from wla.overrides import override


class Config(BaseModel):
    """Base of every configuration class. Its module imports no torch: mistakes in a recipe are answered at once.

    Every number has bounds (a test looks for fields without), and infinity and NaN are refused. The string
    below a field is its description: the help of commands and of recipes shows it.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",  # limits of a robot may be infinite; null could not be read back
    )

    may_change: ClassVar[frozenset[str]] = frozenset()
    """Fields that a resumed run may set to other values than it was started with."""

    def save(self, path: Path) -> None:
        atomic_write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Returns the content of a JSON file. ValueError names the file and the first field that does not fit."""
        try:
            # Strict JSON mode, as for the file itself: what `migrate` gives back is JSON again.
            return cls.model_validate_json(_migrated(path))
        except ValidationError as error:
            if is_lfs_pointer(path):
                raise damaged(path, "JSON", error) from error
            raise ValueError(first_error(str(path), error, cls)) from error

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with some fields changed, validated like a new one. ValueError for an unknown field."""
        for name in changes:
            if name not in type(self).model_fields:
                raise ValueError(unknown_field(type(self).__name__, name, type(self).model_fields))
        values = {name: getattr(self, name) for name in type(self).model_fields}
        try:
            return type(self).model_validate(values | changes)
        except ValidationError as error:
            raise ValueError(first_error(type(self).__name__, error, type(self))) from error

    def override(self, assignments: Sequence[str]) -> Self:
        """Returns a copy with ``dotted.path=value`` assignments applied; see `wla.overrides.override`."""
        return override(self, assignments)


class Record(Config):
    """Base of what is measured or observed, written to a file and never set by anyone: its numbers have no bounds."""

    model_config = ConfigDict(allow_inf_nan=True)


def _migrated(path: Path) -> bytes:
    """The file's content under present names; the bytes themselves where there is nothing to rename."""
    content = path.read_bytes()
    if path.name not in FIELDS:
        return content
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content  # validation says what is damaged, and where
    return json.dumps(migrate(path.name, tree)).encode() if isinstance(tree, dict) else content
