"""Comparison of a resumed run with the one that was started: what decides its result has to be the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wla.config import Config


def require_same(path: Path, now: Config) -> None:
    """Raises ValueError when a setting differs from that in a run's file and is not one that may change.

    Learning rates and the number of steps may, for example; the seed may not, or the run would silently be another one
    (see `Config.may_change`). A run of an earlier version has no such file.
    """
    if not path.is_file():
        return
    for name, old, new in differences(type(now).load(path), now):
        raise ValueError(
            f"{path}: this run was started with {name} {_short(old)}, not {_short(new)}; resume with it, "
            "or start a new run in another --out"
        )


def differences(old: Config, new: Config, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yields the dotted path and both values of each setting that differs and may not."""
    for name in type(new).model_fields:
        if name not in type(new).may_change:
            yield from _compare(f"{prefix}{name}", getattr(old, name), getattr(new, name))


def _compare(path: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(new, Config) and type(old) is type(new):
        yield from differences(old, new, f"{path}.")
    elif isinstance(new, tuple) and isinstance(old, tuple) and len(old) == len(new):
        for number, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _compare(f"{path}.{number}", before, now)
    elif old != new:
        yield path, old, new


def _short(value: Any) -> str:
    text = str(list(value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 80 else f"{text[:76]} ..."
