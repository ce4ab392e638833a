"""Ranges of a dataset's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from wla.data.validation.numbers import check_range


@pytest.mark.parametrize(
    ("spread", "text"),
    [
        (0.0, "dimension elbow is always 0.5"),
        (4e-7, "dimension elbow is always about 0.5 (within 4e-07, which counts as constant)"),
        (5e-5, "dimension elbow is always about 0.5 (within 5e-05, which counts as constant)"),
        (1e-2, None),
    ],
)
def test_dimensions_that_hardly_vary_are_named(spread, text):
    column = np.float32([0.5, 0.5 + spread])
    rows = np.stack([np.float32([0, 1]), column], axis=1)
    issues = check_range("action", ("shoulder", "elbow"), {0: rows, 1: rows}, jumps=False)
    assert [issue.message for issue in issues] == ([] if text is None else [f"'action': {text}"])
