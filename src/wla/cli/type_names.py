"""Names of types, as help shows them."""

from __future__ import annotations

from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from wla.config_errors import alternatives

_NAMES = {str: "text", int: "int", float: "number", bool: "true | false", Path: "path", NoneType: "null", Any: "any"}
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def field_type(field: FieldInfo) -> str:
    """Returns the type of a field with its bounds: ``int >= 1 | null``."""
    bounds = [
        f"{sign} {getattr(each, name)}"
        for each in field.metadata
        for name, sign in _BOUNDS.items()
        if hasattr(each, name)
    ]
    members = alternatives(field.annotation)
    names = [" ".join([type_name(each), *bounds]) if each in (int, float) else type_name(each) for each in members]
    return " | ".join(names)


def type_name(annotation: Any) -> str:
    """Returns a short name of a type that is no union: the values to choose from, or ``list of int``, say."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (list, tuple):
        return f"list of {_union_name(arguments[0])}"
    if origin is dict:
        return f"{{{_union_name(arguments[0])}: {_union_name(arguments[1])}}}"
    return _NAMES.get(annotation) or annotation.__name__


def _union_name(annotation: Any) -> str:
    return " | ".join(map(type_name, alternatives(annotation)))
