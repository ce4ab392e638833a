import json

import pytest
from full_disk import full_disk
from hostile import TEXTS

from wla.json_lines import append_line, read_lines, to_line, write_lines


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_comes_back_and_is_one_line_for_every_program(tmp_path, text):
    path = tmp_path / "lines.jsonl"
    values = [{"text": text, text: [text]}, {"text": "next"}]
    append_line(path, values[0])
    append_line(path, values[1])
    assert read_lines(path) == [(1, values[0]), (2, values[1])]
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    write_lines(path, values)
    assert [value for _, value in read_lines(path)] == values


def test_ordinary_text_stays_readable():
    assert to_line({"text": "Türme 塔 🤖"}) == '{"text": "Türme 塔 🤖"}\n'


def test_no_file_has_no_lines(tmp_path):
    assert read_lines(tmp_path / "lines.jsonl") == []


@pytest.mark.parametrize("length", range(1, len(to_line({"text": "ä\u2028"}).encode())))
def test_a_line_cut_anywhere_is_not_read_and_the_next_one_replaces_it(tmp_path, length):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"number": 1})
    cut = to_line({"text": "ä\u2028"}).encode()[:length]
    path.write_bytes(path.read_bytes() + cut)
    before = path.read_bytes()
    whole = cut.endswith(b"}")
    expected = [{"number": 1}] + [{"text": "ä\u2028"}] * whole
    assert [value for _, value in read_lines(path)] == expected
    assert path.read_bytes() == before  # reading changes nothing: another process may be writing
    append_line(path, {"number": 2})
    assert [value for _, value in read_lines(path)] == [*expected, {"number": 2}]


def test_a_disk_that_fills_costs_only_the_line_that_was_written(tmp_path):
    path = tmp_path / "lines.jsonl"
    append_line(path, {"number": 1})
    with full_disk(30), pytest.raises(OSError, match="large"):
        append_line(path, {"text": "long" * 100})
    append_line(path, {"number": 2})
    assert [value for _, value in read_lines(path)] == [{"number": 1}, {"number": 2}]


def test_blank_lines_carriage_returns_and_a_byte_order_mark_are_no_lines(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n  \n{"a": 2}\r\n')
    assert read_lines(path) == [(1, {"a": 1}), (4, {"a": 2})]


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b'{"a": ', b'"\xff"', b"[" * 200_000, b'{"a": ' * 200_000, b"\0" * 40, b"1" * 10_000],
    ids=["no JSON", "cut", "no UTF-8", "deep list", "deep object", "zeros", "long number"],
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    with pytest.raises(ValueError, match=r"lines\.jsonl:2 is not JSON \(.*repair or remove the line$") as caught:
        read_lines(path)
    assert len(str(caught.value)) < 400


def test_numbers_come_back_exactly(tmp_path):
    path = tmp_path / "lines.jsonl"
    values = {"loss": 0.1 + 0.2, "tiny": 5e-324, "infinite": float("inf"), "count": 2**63}
    append_line(path, values)
    assert read_lines(path) == [(1, values)]
    assert json.loads(to_line({"a": float("nan")}))["a"] != 0
