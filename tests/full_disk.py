"""A disk that is really full: no file of this process can grow beyond a size, whichever library writes it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager


def fill_disk(limit: int) -> None:
    """From now on, until `free_disk`."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def free_disk() -> None:
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    fill_disk(limit)
    try:
        yield
    finally:
        free_disk()
