"""JSON lines: files with one JSON value per line, as every part of the package writes and reads them.

A line ends at a newline and nowhere else. Texts of others may hold anything: line separators that other programs split
at (U+0085, U+2028, U+2029) and lone surrogates, which UTF-8 cannot encode, are written as escapes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from wla.files import atomic_write_text

_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_BYTE_ORDER_MARK = "\ufeff"


def to_line(value: Any) -> str:
    """Returns a value as one line of JSON, newline included."""
    text = json.dumps(value, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found.group()):04x}", text) + "\n"


def append_line(path: Path, value: Any) -> None:
    """Appends a value and hands it to the operating system before returning.

    A last line that was cut off (full disk, killed process) is removed first.
    """
    with path.open("a+b") as file:
        _mend(file)
        file.write(to_line(value).encode("utf-8"))


def write_lines(path: Path, values: Iterable[Any]) -> None:
    """Replaces a file atomically."""
    atomic_write_text(path, "".join(map(to_line, values)))


def read_lines(path: Path) -> list[tuple[int, Any]]:
    """Returns the number and the value of each line; none when there is no such file.

    A last line that was cut off is dropped, blank lines and a byte-order mark are skipped. ValueError, with its number,
    for any other line that is not JSON.
    """
    if not path.exists():
        return []
    rows = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8").removeprefix(_BYTE_ORDER_MARK)
                if text.strip():
                    rows.append((number, json.loads(text)))
            except (ValueError, RecursionError) as error:
                if line.endswith(b"\n"):
                    reason = "nested too deeply" if isinstance(error, RecursionError) else error
                    raise ValueError(f"{path}:{number} is not JSON ({reason}); repair or remove the line") from error
    return rows


def _mend(file: IO[bytes]) -> None:
    """Ends the last line of a file that is open for appending, or removes it where it is not a whole value."""
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read() == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    try:
        json.loads(content[start:].decode("utf-8"))
    except (ValueError, RecursionError):
        file.truncate(start)
    else:
        file.write(b"\n")
