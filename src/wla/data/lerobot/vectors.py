"""Vectors of a dataset: columns of numbers in any form that other programs store them in, joined in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32

from wla.data.lerobot.format import DatasetInfo, Feature
from wla.foreign import one_line


def joined_name(columns: Sequence[str]) -> str:
    """How messages call columns that are joined."""
    return " + ".join(columns)


def width(feature: Feature) -> int:
    """The numbers of one frame, whatever the shape is: 1 for a single number."""
    return math.prod(feature.shape)


def vector_names(info: DatasetInfo, columns: Sequence[str]) -> tuple[str, ...]:
    """The names of the dimensions of columns that are joined, with the column's where it takes that to tell them
    apart."""
    parts = {name: dimension_names(info.features[name].names, width(info.features[name])) for name in columns}
    if len(parts) == 1:
        return tuple(next(iter(parts.values())))
    own = {name: [name] if names == ["0"] else names for name, names in parts.items()}
    plain = [each for names in own.values() for each in names]
    if len(set(plain)) == len(plain) and not any(each.isdecimal() for each in plain):
        return tuple(plain)
    return tuple(f"{name}.{each}" for name, names in parts.items() for each in names)


def dimension_names(names: Any, count: int) -> list[str]:
    """Names of dimensions, from any form that datasets use: list, list in a list, {"motors": [...]}, {"x": 0, "y": 1},
    or none."""
    if isinstance(names, Mapping) and all(type(value) is int for value in names.values()):
        names = sorted(names, key=lambda name: names[name])
    if isinstance(names, Mapping):
        names = [name for part in names.values() for name in (part if isinstance(part, list) else [part])]
    if isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    fitting = names if isinstance(names, list) and len(names) == count else range(count)
    return [one_line(name) for name in fitting]


def matrix(table: pa.Table, key: str, feature: Feature) -> Float32[np.ndarray, "N D"] | None:
    """A column as a matrix; None when it does not have the feature's numbers in every row. Those in nested lists are
    taken in the order in which they lie, and have to be nested as the feature states."""
    values, count = _storage(table[key].combine_chunks()), width(feature)
    sizes: list[int] = []
    while _is_nested(values.type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        if values.null_count or len(lengths) > 1:
            return None
        sizes, values = [*sizes, *lengths], _storage(values.flatten())
    nested, stated = ([each for each in part if each != 1] for part in (sizes, feature.shape))
    if len(nested) > 1 and len(stated) > 1 and nested != stated:
        return None
    per_row = math.prod(sizes) if len(table) else count
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not (numeric or pa.types.is_decimal(kind)) or per_row != count or values.null_count:
        return None
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), count)


def _storage(values: pa.Array) -> pa.Array:
    """The numbers of a column of a type that another library registered, as `datasets` does for arrays in arrays."""
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def _is_nested(kind: pa.DataType) -> bool:
    views = pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    return views or pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
