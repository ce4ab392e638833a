"""msgpack frames with NumPy arrays, as openpi encodes them, from peers that are not trusted.

An array is a map with the keys b"__ndarray__", b"data", b"dtype" and b"shape", a NumPy scalar one with
b"__npgeneric__", b"data" and b"dtype" (openpi, packages/openpi-client). A frame is walked before anything is built of
it: what it declares is compared with what it holds, so that no header of a few bytes allocates more than the frame.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import msgpack
import numpy as np

from wla.foreign import one_line, shown

MAX_FRAME_BYTES = 32 * 2**20
MAX_DEPTH = 16
MAX_ITEMS = 20_000
"""Values in a frame, keys included; an array of NumPy is a handful of them."""
MAX_DIMENSIONS = 8
KINDS = "biuf"
"""Kinds of NumPy's data types that are read: bool, whole and floating numbers."""
_ARRAY, _SCALAR = b"__ndarray__", b"__npgeneric__"
_FIXED = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, **{0xCC + i: 2 ** (i % 4) for i in range(8)}}
"""Bytes after the first one, for values of a fixed size: nil, bool, float, (un)signed numbers."""
_SIZED = {0xC4: ">B", 0xC5: ">H", 0xC6: ">I", 0xD9: ">B", 0xDA: ">H", 0xDB: ">I"}
"""Formats of the lengths of bytes and texts."""
_NESTED = {0xDC: (">H", 1), 0xDD: (">I", 1), 0xDE: (">H", 2), 0xDF: (">I", 2)}
"""Formats of the lengths of arrays and maps, and the values per entry."""


STOPPED = "stopped: "
"""Begins the error of a request of a session that a person stopped."""


class WireError(ValueError):
    """A frame that is not what the protocol allows: one line that may be sent to the peer."""


def require_token(token: str) -> str:
    """A token that a client can send. ValueError, which does not show it, for one that no header may contain."""
    if not (token.isprintable() and token == token.strip() and all(ord(each) < 256 for each in token)):
        raise ValueError(
            "WLA_TOKEN has a line break, a space at an end, or a character that HTTP does not send; correct it"
        )
    return token


def pack(value: Any, encode: Callable[[np.ndarray | np.generic], dict[bytes, Any]] | None = None) -> bytes:
    """A frame of maps, sequences, texts, bytes, numbers and NumPy arrays. WireError for anything else in it.

    encode: the map that stands for an array or a NumPy scalar; openpi's when left out.
    """
    try:
        return msgpack.packb(value, default=lambda each: _encoded(each, encode or _encoded_array))
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"cannot be sent: {one_line(error)}") from error


def unpack(frame: bytes, decode: Callable[[dict[Any, Any]], Any] | None = None) -> Any:
    """The value of a frame, arrays as NumPy arrays that may not be written to. WireError for a bad one.

    decode: returns a map, or the array or NumPy scalar that it stands for; openpi's when left out.
    """
    if len(frame) > MAX_FRAME_BYTES:
        raise WireError(f"the frame has {len(frame)} bytes; at most {MAX_FRAME_BYTES} are read")
    _require_well_formed(frame)
    try:
        return msgpack.unpackb(frame, object_hook=decode or _decoded, strict_map_key=True)
    except WireError:
        raise
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise WireError(f"the frame cannot be read: {one_line(error) or type(error).__name__}") from error


def _encoded(value: Any, encode: Callable[[np.ndarray | np.generic], dict[bytes, Any]]) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in KINDS:
            raise TypeError(f"arrays of type {value.dtype} are not sent")
        return encode(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"values of type {type(value).__name__} are not sent")


def _encoded_array(value: np.ndarray | np.generic) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray):
        return {_ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    return {_SCALAR: True, b"data": value.item(), b"dtype": value.dtype.str}


def _decoded(fields: dict[Any, Any]) -> Any:
    """A map, or the array or scalar that it stands for."""
    if _ARRAY in fields:
        return array(fields.get(b"dtype"), fields.get(b"shape"), fields.get(b"data"))
    if _SCALAR in fields:
        number = fields.get(b"data")
        if not isinstance(number, bool | int | float):
            raise WireError(f"a NumPy scalar holds {shown(number)}, which is no number")
        return _scalar(_dtype(fields.get(b"dtype")), number)
    return fields


def _scalar(dtype: np.dtype, number: bool | int | float) -> np.generic:
    try:
        with np.errstate(over="raise"):
            return dtype.type(number)
    except (OverflowError, FloatingPointError) as error:
        raise WireError(f"a NumPy scalar of type {dtype} cannot hold {shown(number)}") from error


def array(dtype_name: object, shape: object, data: object) -> np.ndarray:
    """The array that a frame describes. WireError where that does not fit together."""
    dtype = _dtype(dtype_name)
    known = isinstance(shape, list) and all(type(size) is int and 0 <= size < 2**32 for size in shape)
    if not isinstance(shape, list) or not known or len(shape) > MAX_DIMENSIONS:
        raise WireError(f"an array has shape {shown(shape)}; up to {MAX_DIMENSIONS} sizes are read")
    if not isinstance(data, bytes) or prod(shape) * dtype.itemsize != len(data):
        held = f"{len(data)} bytes" if isinstance(data, bytes) else "no bytes"
        raise WireError(f"an array of shape {shape} and type {dtype} holds {held}")
    return np.frombuffer(data, dtype).reshape(shape)


def _dtype(name: object) -> np.dtype:
    # Only the short form, as NumPy's own `dtype.str`: its parser reads a language of its own.
    if isinstance(name, str) and 2 <= len(name) <= 4 and name.lstrip("<>|=")[:1] in set(KINDS):
        try:
            return np.dtype(name)
        except TypeError:
            pass
    raise WireError(f"arrays of type {shown(name)} are not read; send bool, whole or floating numbers")


def _require_well_formed(frame: bytes) -> None:
    """WireError for a frame that nests too deep, holds too many values, or ends before what it declares."""
    position, items = 0, 0
    open_values = [1]  # values that are still to come, per level
    while open_values:
        if not open_values[-1]:
            open_values.pop()
            continue
        open_values[-1] -= 1
        items += 1
        entries, position = _step(frame, position)
        if items + entries > MAX_ITEMS:
            raise WireError(f"the frame holds more than {MAX_ITEMS} values; send arrays as NumPy arrays")
        if entries:
            open_values.append(entries)
        if len(open_values) > MAX_DEPTH:
            raise WireError(f"the frame is nested more than {MAX_DEPTH} deep")
    if position != len(frame):
        raise WireError(f"the frame has {len(frame) - position} bytes after its value")


def _step(frame: bytes, position: int) -> tuple[int, int]:
    """The number of values inside the value at `position` (0 for most kinds), and where the next one begins."""
    if position >= len(frame):
        raise WireError("the frame ends before its value does")
    kind = frame[position]
    position += 1
    entries, size = 0, 0
    if kind < 0x80 or kind >= 0xE0:
        pass  # a small number is its own value
    elif kind < 0x90:
        entries = 2 * (kind & 0x0F)
    elif kind < 0xA0:
        entries = kind & 0x0F
    elif kind < 0xC0:
        size = kind & 0x1F
    elif kind in _FIXED:
        size = _FIXED[kind]
    elif kind in _SIZED:
        size, position = _length(frame, position, _SIZED[kind])
    elif kind in _NESTED:
        form, per_entry = _NESTED[kind]
        entries, position = _length(frame, position, form)
        entries *= per_entry
    else:
        raise WireError(f"the frame has a value of kind 0x{kind:02x}, which is not read")
    if position + size > len(frame):
        raise WireError("the frame ends before its value does")
    return entries, position + size


def _length(frame: bytes, position: int, form: str) -> tuple[int, int]:
    end = position + struct.calcsize(form)
    if end > len(frame):
        raise WireError("the frame ends before its value does")
    return struct.unpack(form, frame[position:end])[0], end
