"""Frames: arrays come back as they went, and whatever a stranger sends is a value or one line."""

from __future__ import annotations

import os
import random
import tracemalloc
from contextlib import suppress

import msgpack
import numpy as np
import pytest

from wla.serving.wire import MAX_DEPTH, MAX_FRAME_BYTES, WireError, pack, unpack


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "uint8", "uint64", "float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_arrays_come_back_as_they_went(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    back = unpack(pack({"x": array}))["x"]
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)


def test_other_values_come_back_as_they_went() -> None:
    value = {"a": [1, -5, 2**40, 1.5, None, True], "b": {"c": b"bytes"}, "d": "x" * 300, "e": "€" * 40_000}
    assert unpack(pack(value)) == value


def test_scalars_of_numpy_keep_their_type() -> None:
    back = unpack(pack({"x": np.float32(0.5), "y": np.int8(-3), "z": np.bool_(True)}))
    assert [type(back[name]) for name in "xyz"] == [np.float32, np.int8, np.bool_]
    assert [back[name].item() for name in "xyz"] == [0.5, -3, True]


@pytest.mark.parametrize("value", [np.array([None]), np.zeros(2, complex), np.array(["text"]), object(), {1, 2}])
def test_what_the_wire_does_not_carry_is_not_sent(value: object) -> None:
    with pytest.raises(WireError, match="cannot be sent"):
        pack({"x": value})


def array(**changes: object) -> bytes:
    fields = {b"__ndarray__": True, b"data": bytes(12), b"dtype": "<f4", b"shape": [3]}
    return msgpack.packb({"x": fields | {name.encode(): value for name, value in changes.items()}})


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (array(dtype="|O"), "arrays of type"),
        (array(dtype="V4"), "arrays of type"),
        (array(dtype="<c8"), "arrays of type"),
        (array(dtype="<U3"), "arrays of type"),
        (array(dtype="f4,f4"), "arrays of type"),
        (array(dtype="float"), "arrays of type"),
        (array(dtype="<f3"), "arrays of type"),
        (array(dtype=4), "arrays of type"),
        (array(shape=[4]), r"shape \[4\] and type float32 holds 12 bytes"),
        (array(shape=[-3]), "shape"),
        (array(shape=[3.0]), "shape"),
        (array(shape=[1] * 8 + [3]), "up to 8 sizes"),
        (array(shape=3), "shape"),
        (array(shape=[2**31, 2**31, 2**31]), "holds 12 bytes"),
        (array(data="text of 12 b"), "no bytes"),
        (msgpack.packb({b"__npgeneric__": True, b"data": [1], b"dtype": "<f4"}), "no number"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}), "cannot hold"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 1e300, b"dtype": "<f4"}), "cannot hold"),
        (b"", "ends before"),
        (b"\x81\xa1a", "ends before"),
        (b"\xdd\xff\xff\xff\xff", "more than"),
        (b"\xdf\xff\xff\xff\xff", "more than"),
        (b"\xc6\xff\xff\xff\xff", "ends before"),
        (b"\xdb\x7f", "ends before"),
        (b"\x91" * (MAX_DEPTH + 1) + b"\x00", "nested"),
        (b"\x91" * 100_000, "nested"),
        (b"\xdd\x00\x00\x90\x00" + b"\x90" * 0x9000, "more than"),
        (b"\x00\x00", "1 bytes after"),
        (b"\xc1", "0xc1"),
        (msgpack.packb(msgpack.ExtType(5, b"abc")), "not read"),
        (b"\x81\x90\x00", "cannot be read"),
        (b"\x81\x01\x00", "cannot be read"),
        (b"\xa2\xff\xfe", "cannot be read"),
        (bytes(MAX_FRAME_BYTES + 1), "at most"),
    ],
)
def test_a_bad_frame_is_one_line(frame: bytes, message: str) -> None:
    with pytest.raises(WireError, match=message) as raised:
        unpack(frame)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


def test_a_header_allocates_nothing_that_it_only_declares() -> None:
    frames = [b"\xdd\x00\x00\x4e\x00", b"\xc6\x01\xff\xff\xff", array(shape=[2**28])]
    tracemalloc.start()
    for frame in frames:
        with pytest.raises(WireError):
            unpack(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def fuzz(count: int, seed: int) -> int:
    """Mutated and random frames; returns how many of them were values."""
    rng = random.Random(seed)
    good = pack({"a": np.zeros(4, np.float32), "p": "text", "s": np.float32(1), "n": [1, [2, {"z": b"k"}]]})
    values = 0
    for index in range(count):
        frame = bytearray(good if index % 2 else rng.randbytes(rng.randrange(64)))
        for _ in range(rng.randrange(3)):
            if frame:
                frame[rng.randrange(len(frame))] = rng.choice([rng.randrange(256), 0xC1, 0xDD, 0xDF, 0xC6, 0xFF, 0])
        if rng.random() < 0.3:
            del frame[rng.randrange(len(frame) + 1) :]
        with suppress(WireError):
            unpack(bytes(frame))
            values += 1
    return values


def test_mutated_frames_are_values_or_one_line() -> None:
    assert 0 < fuzz(5_000, 0) < 5_000


@pytest.mark.slow
def test_a_million_mutated_frames_are_values_or_one_line() -> None:
    assert 0 < fuzz(1_000_000, int.from_bytes(os.urandom(4))) < 1_000_000
