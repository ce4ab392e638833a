"""One-line messages about configurations that do not fit: the place, what is wrong there, the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from wla.migrations import RENAMED_FIELDS

MAX_VALUE_CHARS = 80
"""Characters of a wrong value that a message shows."""
CUTOFF = 0.6
"""Similarity from which on a name is suggested."""


def alternatives(annotation: Any) -> tuple[Any, ...]:
    """Returns the members of a union, None included, or the type itself."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return tuple(member for each in get_args(annotation) for member in alternatives(each))
    return (annotation,)


def parts(annotation: Any) -> list[type[BaseModel]]:
    """Returns the configuration classes among the alternatives of a type."""
    return [each for each in alternatives(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]


def item_type(annotation: Any, index: int = 0) -> Any:
    """Returns the type of a list's or tuple's item, or of a dictionary's values."""
    for each in alternatives(annotation):
        types = [kind for kind in get_args(each) if kind is not Ellipsis]
        if types and get_origin(each) in (list, tuple):
            return types[min(index, len(types) - 1)]
        if types and get_origin(each) is dict:
            return types[-1]
    return Any


def joined(where: str, name: object) -> str:
    """Returns the dotted path of `name` below `where`."""
    return f"{where}.{name}" if where else str(name)


def unknown_field(owner: str, name: str, known: Iterable[str], where: str = "") -> str:
    """Returns the message about a field that does not exist: its present name, the nearest one, or all there are.

    owner: what the message is about. where: path of the part that has the `known` fields.
    """
    known = list(known)
    if RENAMED_FIELDS.get(name) in known:
        return f"{owner}: {joined(where, name)!r} is called {joined(where, RENAMED_FIELDS[name])!r} now"
    near = difflib.get_close_matches(name, known, n=1, cutoff=CUTOFF)
    hint = f"did you mean {joined(where, near[0])!r}?" if near else f"fields are {', '.join(known)}"
    return f"{owner}: no field {joined(where, name)!r}; {hint}"


def first_error(owner: str, error: ValidationError, kind: type[BaseModel], where: str = "") -> str:
    """Returns the message about the first thing that validation found wrong.

    owner: what the message is about. kind: class that was validated; where: the path of its value.
    """
    item = error.errors()[0]
    if item["type"] == "json_invalid":
        return f"{owner}: damaged, {item['msg']}; restore the file"
    if item["type"] == "missing":
        absent = [_path(each["loc"], where) for each in error.errors() if each["type"] == "missing"]
        return f"{owner}: {', '.join(absent)}: required, and not given"
    if item["type"] == "extra_forbidden":
        fields = _fields(kind, item["loc"][:-1])
        if fields:
            return unknown_field(owner, str(item["loc"][-1]), fields, _path(item["loc"][:-1], where))
    message = f"{owner}: {_path(item['loc'], where) or 'configuration'}: {item['msg'].removeprefix('Value error, ')}"
    if isinstance(item["input"], dict | BaseModel):  # fields that do not fit together: the message names them
        return message
    value = repr(item["input"])
    return f"{message} (got {value if len(value) <= MAX_VALUE_CHARS else value[:MAX_VALUE_CHARS] + ' ...'})"


def _path(location: Sequence[str | int], where: str) -> str:
    for part in location:
        where = joined(where, part)
    return where


def _fields(kind: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Returns the names of the fields at a location of an error; none where the location does not lead to a part."""
    annotation: Any = kind
    for part in location:
        kinds = parts(annotation)
        if isinstance(part, int):
            annotation = item_type(annotation, part)
        elif len(kinds) > 1:  # the location names the member of a union before its field
            annotation = next((each for each in kinds if part in tags(each)), Any)
        elif kinds and part in kinds[0].model_fields:
            annotation = kinds[0].model_fields[part].annotation
        else:
            annotation = item_type(annotation)
    kinds = parts(annotation)
    return list(kinds[0].model_fields) if len(kinds) == 1 else []


def tags(kind: type[BaseModel]) -> tuple[str, ...]:
    """Returns names of a member of a union: its `kind`, where it has one, and its class."""
    field = kind.model_fields.get("kind")
    return (*(get_args(field.annotation) if field is not None else ()), kind.__name__)
