"""Changes to a configuration that are written as text: ``dotted.path=value``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from wla.config_errors import alternatives, first_error, item_type, joined, nearest, parts, tags, unknown_field

ConfigT = TypeVar("ConfigT", bound=BaseModel)
OWNER = "override"
"""How messages begin."""


@dataclass
class _Part:
    """A part under change: its class, and values of its fields that are validated together at the end."""

    kind: type[BaseModel]
    values: dict[str, Any]


class _NoField(ValueError):
    """A path to a field that a class does not have."""


def override(config: ConfigT, assignments: Sequence[str]) -> ConfigT:
    """Returns a copy of a configuration with assignments applied in order and validated together.

    Args:
        config: any pydantic model; it stays as it is.
        assignments: texts ``path=value``. A path consists of field names, keys and indices (``datasets.0.weight``); the
            index after the last item appends one. A value is JSON, or else plain text; a list may also be written with
            commas. A path into a part that is null makes the part, from the defaults of its fields.

    Raises:
        ValueError: a path that does not exist, a value that does not fit, or a required field that is missing.
    """
    root: Any = config
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(f"{OWNER} {assignment!r} is not of the form dotted.path=value")
        try:
            root = _changed(root, type(config), "", path.split("."), text)
        except _NoField as error:
            where = None if "did you mean" in str(error) else _elsewhere(config, path)
            raise ValueError(f"{error}; did you mean {where!r}?" if where else str(error)) from error
    built: ConfigT = _build(root, "")
    return built


def _changed(value: Any, annotation: Any, where: str, path: Sequence[str], text: str) -> Any:
    """Returns the value at `where` with the value of the text at `path` below it, to be validated by `_build`."""
    if not path:
        return _parse(text, annotation)
    name, *rest = path
    below = joined(where, name)
    opened = _opened(value, annotation, where, path, text)
    if isinstance(opened, _Part):
        field = opened.kind.model_fields[name]
        known = opened.values[name] if name in opened.values else _default(opened.kind, name)
        opened.values[name] = _changed(known, field.annotation, below, rest, text)
    elif isinstance(opened, list):
        if not name.isdecimal() or int(name) > len(opened):
            raise ValueError(
                f"{OWNER}: no item {below!r}; {where} has {len(opened)}, counted from 0, and {len(opened)} appends one"
            )
        index = int(name)
        known = opened[index] if index < len(opened) else None
        opened[index : index + 1] = [_changed(known, item_type(annotation, index), below, rest, text)]
    else:
        opened[name] = _changed(opened.get(name), item_type(annotation), below, rest, text)
    return opened


def _elsewhere(config: BaseModel, path: str) -> str | None:
    """The path of the field in another part that was probably meant by one that does not exist."""
    name = path.rpartition(".")[2]
    known = [each for each in _field_paths(config, "") if each != path]
    near = nearest(name, {each.rpartition(".")[2] for each in known})
    found = [each for each in known if near is not None and each.rpartition(".")[2] == near]
    return min(found, key=len, default=None)


def _field_paths(part: BaseModel, where: str) -> Iterator[str]:
    """The dotted paths of all fields of a part and of the parts below it."""
    for name in type(part).model_fields:
        yield joined(where, name)
        value = getattr(part, name)
        if isinstance(value, BaseModel):
            yield from _field_paths(value, joined(where, name))


def _default(kind: type[BaseModel], name: str) -> Any:
    field = kind.model_fields[name]
    return None if field.is_required() else field.get_default(call_default_factory=True)


def _opened(
    value: Any, annotation: Any, where: str, path: Sequence[str], text: str
) -> _Part | list[Any] | dict[str, Any]:
    """Returns a part, list or dictionary that can be changed. ValueError when it cannot have the first of `path`."""
    kinds = parts(annotation)
    if kinds and isinstance(value, str | dict):  # the whole part was given just before
        try:
            value = TypeAdapter(annotation).validate_python(value)
        except ValidationError as error:
            raise ValueError(first_error(OWNER, error, kinds[0], where)) from error
    if isinstance(value, BaseModel):
        value = _Part(type(value), {name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, _Part):
        return value if _has(value.kind, path, text) else _other_member(value.kind, kinds, where, path, text)
    containers = {get_origin(each) for each in alternatives(annotation)}
    if isinstance(value, list | tuple) or (value is None and containers & {list, tuple}):
        return list(value or ())
    if isinstance(value, dict) or (value is None and dict in containers):
        return dict(value or {})
    fitting = [kind for kind in kinds if _has(kind, path, text)]
    if len(fitting) == 1:
        return _Part(fitting[0], {})
    if fitting:
        raise ValueError(f"{OWNER}: {where} is null, and {_names(fitting)} have {path[0]!r}; {_choice(where, fitting)}")
    if kinds:
        return _other_member(kinds[0], kinds, where, path, text)
    raise ValueError(f"{OWNER}: no field {joined(where, path[0])!r}; {where} is a value without fields")


def _has(kind: type[BaseModel], path: Sequence[str], text: str) -> bool:
    """Whether a class has the first field of a path; `kind`, the name of a union's member, only with its own value."""
    return path[0] in kind.model_fields and (path != ["kind"] or text in _kind_names(kind))


def _kind_names(kind: type[BaseModel]) -> tuple[str, ...]:
    return tags(kind)[:-1]


def _other_member(
    kind: type[BaseModel], kinds: Sequence[type[BaseModel]], where: str, path: Sequence[str], text: str
) -> _Part:
    """Returns the empty part of another kind, for ``kind=NAME``. ValueError for a field that `kind` does not have."""
    others = [each for each in kinds if _has(each, path, text)]
    names = [name for each in kinds for name in _kind_names(each)]
    if path == ["kind"] and names:
        if others:
            return _Part(others[0], {})
        raise ValueError(f"{OWNER}: {where}.kind: no kind {text!r}; there are {', '.join(names)}")
    if not others:
        raise _NoField(unknown_field(OWNER, path[0], kind.model_fields, where))
    raise ValueError(
        f"{OWNER}: {kind.__name__} has no field {joined(where, path[0])!r}, {_names(others)} "
        f"{'have' if len(others) > 1 else 'has'}; {_choice(where, others)}"
    )


def _choice(where: str, kinds: Sequence[type[BaseModel]]) -> str:
    """How to choose a member of a union."""
    names = [name for each in kinds for name in _kind_names(each)]
    if not names:
        return f"give the whole part as JSON, {where}={{..}}"
    return f"choose with {' or '.join(f'{where}.kind={name}' for name in names)} before it"


def _parse(text: str, annotation: Any) -> Any:
    """Returns the value that a text stands for where a value of this type is expected."""
    try:
        value, plain = json.loads(text), False
    except json.JSONDecodeError:
        value, plain = text, True
    members = set(alternatives(annotation))
    if (value is None and NoneType in members) or type(value) in members:
        return value
    lists = {each for each in members if get_origin(each) in (list, tuple)}
    only_lists = bool(lists) and members <= {*lists, NoneType}
    if not isinstance(value, list) and (only_lists or (lists and plain and "," in text)):
        items = text.split(",") if plain else [text]
        return [_parse(item.strip(), item_type(annotation, index)) for index, item in enumerate(items)]
    takes_text = bool({str, Path} & members or parts(annotation))
    # A folder called 2026, say, is a number to JSON.
    return text if takes_text and (value is None or isinstance(value, int | float)) else value


def _build(value: Any, where: str) -> Any:
    """Returns the validated value of a part, and of all parts below it."""
    if isinstance(value, list):
        return [_build(item, joined(where, index)) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: _build(item, joined(where, name)) for name, item in value.items()}
    if not isinstance(value, _Part):
        return value
    values = {name: _build(item, joined(where, name)) for name, item in value.values.items()}
    try:
        return value.kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(first_error(OWNER, error, value.kind, where)) from error


def _names(kinds: Sequence[type[BaseModel]]) -> str:
    return " and ".join(kind.__name__ for kind in kinds)
