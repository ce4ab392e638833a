"""The help of a recipe: every field of its configuration with path, present value, type and description."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from wla.cli.arguments import MAX_WIDTH
from wla.cli.type_names import field_type
from wla.config_errors import joined, parts, tags
from wla.presets.recipe import load_recipe

INDENT = 6
MAX_VALUE = 30
"""Characters of a value that are shown."""
REQUIRED = "(required)"
EXAMPLES = {
    "loop.optim.steps": ("loop.optim.steps=200 loop.batch_size=32", "a shorter training"),
    "datasets": ("datasets=datasets/mine,datasets/more", "other datasets"),
    "datasets.0.weight": ("datasets.0.weight=0.5", "one field of the first dataset"),
    "lora.rank": ("lora.rank=8 lora.alpha=16 lora.target_modules=q_proj,v_proj", "a part that was null"),
    "init.kind": ("init.kind=checkpoint init.policy=nano-tabletop", "another kind of a part"),
    "recipe.loop.optim.steps": ("recipe.loop.optim.steps=200 --out outputs/short", "shorter trainings"),
}
"""Path of a field -> changes that show how to write such values, and a comment."""


def recipe_help(values: Mapping[str, Any], *, load: Callable[[str], Any] = load_recipe, command: str = "train") -> str:
    """Returns the fields of a recipe with its changes made, and examples of changes; nothing without a recipe.

    Args:
        values: arguments that were typed: `recipe` and, where the command has them, `overrides`.
        load: finds the configuration of a recipe.
        command: command of the examples.

    Raises:
        ValueError: no such recipe, or an override that does not fit.
    """
    if "recipe" not in values:
        return ""
    name = values["recipe"]
    config = load(name).override(values.get("overrides", ()))
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    groups = list(_groups(config, type(config), "", set()))
    lines = [f"Fields of {name}: path, present value, type."]
    for group in groups:
        lines += ["", *group.lines(width)]
    return "\n".join([*lines, "", *_examples(f"wla {command} {name}", groups)]) + "\n"


class _Row(NamedTuple):
    path: str
    value: str
    type_name: str
    description: str


class _Group(NamedTuple):
    """A part of a configuration, and those of its fields that are not parts themselves."""

    title: str
    rows: list[_Row]

    def lines(self, width: int) -> Iterator[str]:
        yield from textwrap.wrap(self.title, width, subsequent_indent=" " * INDENT)
        paths = max((len(row.path) for row in self.rows), default=0)
        values = max((len(row.value) for row in self.rows), default=0)
        for row in self.rows:
            yield _cut(f"  {row.path:<{paths}}  {row.value:<{values}}  {row.type_name}", width)
            yield from textwrap.wrap(
                row.description, width, initial_indent=" " * INDENT, subsequent_indent=" " * INDENT
            )


def _groups(
    value: BaseModel | None, kind: type[BaseModel], path: str, described: set[type[BaseModel]], about: str = ""
) -> Iterator[_Group]:
    """Yields a part and the parts below it. A class is described once.

    value: None for a part that is null: its fields are shown with their defaults. about: description of its field.
    """
    rows: list[_Row] = []
    below: list[tuple[BaseModel | None, type[BaseModel], str, str]] = []
    first = kind not in described
    described.add(kind)
    for name, field in kind.model_fields.items():
        here = joined(path, name)
        text = _one_line(field.description) if first else ""
        item = _value(value, name, field)
        items = [(joined(here, index), each) for index, each in enumerate(item)] if isinstance(item, tuple) else []
        nested = [(where, each) for where, each in [(here, item), *items] if isinstance(each, BaseModel)]
        about_part = " ".join(filter(None, [text, _other_kinds(item, field, here)]))
        below += [(each, type(each), where, about_part) for where, each in nested]
        if isinstance(item, BaseModel):
            continue
        shown = f"{len(nested)} item{'s' * (len(nested) > 1)}" if nested else _cut(_json(item), MAX_VALUE)
        rows.append(_Row(here, shown, field_type(field), text))
        absent = parts(field.annotation) if item is None else []
        if value is not None and len(absent) == 1 and absent[0] not in described:
            below.append((None, absent[0], here, ""))
    name = f"{path} ({kind.__name__}):" if path else f"{kind.__name__}:"
    null = "null; setting a field makes it." if value is None else ""
    title = " ".join(filter(None, [name, null, about, _one_line(kind.__doc__) if first else ""]))
    yield _Group(title, rows)
    for each, its_kind, where, text in below:
        yield from _groups(each, its_kind, where, described, text)


def _other_kinds(value: Any, field: FieldInfo, path: str) -> str:
    """How to choose another member of a union."""
    names = [name for kind in parts(field.annotation) if kind is not type(value) for name in tags(kind)[:-1]]
    return f"Other kinds: {path}.kind={' | '.join(names)}." if names and isinstance(value, BaseModel) else ""


def _value(part: BaseModel | None, name: str, field: FieldInfo) -> Any:
    if part is not None:
        return getattr(part, name)
    return REQUIRED if field.is_required() else field.get_default(call_default_factory=True)


def _examples(command: str, groups: Sequence[_Group]) -> list[str]:
    paths = {row.path for group in groups for row in group.rows}
    shown = [each for path, each in EXAMPLES.items() if path in paths]
    return ["examples:", *(line for text, comment in shown for line in (f"  # {comment}", f"  {command} {text}"))]


def _json(value: Any) -> str:
    return REQUIRED if value is REQUIRED else json.dumps(to_jsonable_python(value), ensure_ascii=False)


def _cut(text: str, width: int) -> str:
    text = text.rstrip()
    return text if len(text) <= width else text[: width - 2] + ".."


def _one_line(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split())
