"""What the bundled models answer and what short trainings cost stays what was recorded (see record.py).

`expected.npz` was recorded on one machine, where runs agree bit for bit. Others round differently, so numbers agree to
a tolerance here, and texts exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import record

EXPECTED = dict(np.load(Path(__file__).with_name("expected.npz")))
TOLERANCE = {"actions": 2e-3, "scores": 2e-3, "logits": 2e-2, "images": 3.0}
"""Largest mean absolute difference: environment units, value, logits, levels of 255."""
QUICK = {
    "nano-tabletop": lambda: record.acting("nano-tabletop"),
    "nano-memory": lambda: record.acting("nano-memory"),
    "candidates": record.candidates,
    "nano-value": record.values,
    "nano-base": record.base_answers,
}


@pytest.mark.parametrize("part", QUICK.values(), ids=QUICK)
def test_answers_of_bundled_models(part: Callable[[], dict[str, np.ndarray]]) -> None:
    for name, found in part().items():
        assert_same(name, found)


@pytest.mark.slow
def test_losses_of_short_trainings() -> None:
    """In bfloat16 where the machine has it, so that only the size of the losses is the same everywhere."""
    for name, found in record.trainings().items():
        assert found.shape == EXPECTED[name].shape, name
        np.testing.assert_allclose(np.median(found), np.median(EXPECTED[name]), rtol=0.2, err_msg=name)


def assert_same(name: str, found: np.ndarray) -> None:
    expected = EXPECTED[name]
    assert found.shape == expected.shape, name
    if found.dtype.kind == "U" or found.ndim == 0:
        assert np.array_equal(found, expected), name
    else:
        difference = np.abs(found.astype(float) - expected.astype(float)).mean()
        assert difference <= TOLERANCE[name.split("/")[1]], f"{name}: {difference:g}"
