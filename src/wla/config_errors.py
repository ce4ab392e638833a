"""One-line messages about configurations that do not fit: the place, what is wrong there, the nearest name."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from wla.migrations import RENAMED_FIELDS

MAX_VALUE_CHARS = 80
"""Characters of a wrong value that a message shows."""


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


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the name that was probably meant: a longer or shorter form of the mistyped one, or a similar one."""
    known = list(known)
    forms = [each for each in known if len(name) > 2 and (each.startswith(name) or name.startswith(each))]
    near = difflib.get_close_matches(name, forms, n=1, cutoff=0) or difflib.get_close_matches(name, known, n=1)
    return near[0] if near else None


def nearest_path(path: Path) -> Path | None:
    """Returns the existing file or folder that was probably meant by a path that does not exist; any part of it may be
    mistyped."""
    if not path.parent.is_dir():
        parent = nearest_path(path.parent)
        if parent is None:
            return None
        path = parent / path.name
        if path.exists():
            return path
    beside = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    return None if near is None else path.with_name(near)


def unknown_field(owner: str, name: str, known: Iterable[str], where: str = "") -> str:
    """Returns the message about a field that does not exist: its present name, the nearest one, or all there are.

    owner: what the message is about. where: path of the part that has the `known` fields.
    """
    known = list(known)
    if RENAMED_FIELDS.get(name) in known:
        return f"{owner}: {joined(where, name)!r} is called {joined(where, RENAMED_FIELDS[name])!r} now"
    near = nearest(name, known)
    hint = f"did you mean {joined(where, near)!r}?" if near else f"fields are {', '.join(known)}"
    return f"{owner}: no field {joined(where, name)!r}; {hint}"


def first_error(owner: str, error: ValidationError, kind: type[BaseModel], where: str = "") -> str:
    """Returns the message about the first thing that validation found wrong.

    owner: what the message is about. kind: class that was validated; where: the path of its value.
    """
    errors = error.errors()
    item = errors[0]
    # A mistyped name of a required field is two errors; the name that was typed says more.
    beside = [each for each in errors if each["type"] == "extra_forbidden" and each["loc"][:-1] == item["loc"][:-1]]
    if item["type"] == "json_invalid":
        return f"{owner}: damaged, {item['msg']}; restore the file"
    if beside:
        part, annotation = _resolve(kind, where, beside[0]["loc"][:-1])
        fields = [name for each in parts(annotation)[:1] for name in _fields(each)]
        return unknown_field(owner, str(beside[0]["loc"][-1]), fields, part)
    if item["type"] == "missing":
        absent = [_resolve(kind, where, each["loc"])[0] for each in errors if each["type"] == "missing"]
        return f"{owner}: {', '.join(absent)}: required, and not given"
    path, _ = _resolve(kind, where, item["loc"])
    message = f"{owner}: {path or 'configuration'}: {item['msg'].removeprefix('Value error, ')}"
    if isinstance(item["input"], dict | BaseModel):  # fields that do not fit together: the message names them
        return message
    value = repr(item["input"])
    return f"{message} (got {value if len(value) <= MAX_VALUE_CHARS else value[:MAX_VALUE_CHARS] + ' ...'})"


def tags(kind: type[BaseModel]) -> tuple[str, ...]:
    """Returns the names of a member of a union: its `kind`, where it has one, and then its class."""
    field = kind.model_fields.get("kind")
    names = get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()
    return (*names, kind.__name__)


def _fields(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """Returns the fields of a class, and of an abstract one's subclasses, one of which was meant."""
    kinds = [kind, *(kind.__subclasses__() if inspect.isabstract(kind) else ())]
    return {name: field for each in kinds for name, field in each.model_fields.items()}


def _resolve(kind: type[BaseModel], where: str, location: Sequence[str | int]) -> tuple[str, Any]:
    """Returns the dotted path of an error's location and the type there.

    kind: class that was validated, at the path `where`. A location names members of unions too; a path does not.
    """
    annotation: Any = kind
    for part in location:
        kinds = parts(annotation)
        member = next((each for each in kinds if len(kinds) > 1 and part in tags(each)), None)
        if member is not None:
            annotation = member
            continue
        where = joined(where, part)
        if isinstance(part, int):
            annotation = item_type(annotation, part)
        elif kinds and part in _fields(kinds[0]):
            annotation = _fields(kinds[0])[part].annotation
        else:
            annotation = item_type(annotation)
    return where, annotation
