"""The checker that jaxtyping puts around every function of the package while the tests run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from beartype import beartype
from beartype.roar import BeartypeDecorHintException

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def check(function: Decorated) -> Decorated:
    """beartype, except on functions with annotations that it cannot check: `Self` and protocols."""
    try:
        return beartype(function)
    except BeartypeDecorHintException:
        return function
