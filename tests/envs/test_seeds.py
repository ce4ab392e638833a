from __future__ import annotations

import pytest

from wla.envs.seeds import Split, require_seeds, seed_range


@pytest.mark.parametrize(
    ("split", "first", "last"),
    [("training", 0, 9_999), ("validation", 10_000, 19_999), ("evaluation", 100_000, 2_000_000)],
)
def test_splits_have_disjoint_seeds(split: Split, first: int, last: int) -> None:
    require_seeds([first, last], split)
    with pytest.raises(ValueError, match=f"not for {split}"):
        require_seeds([first, first - 1], split)
    others = {"training", "validation", "evaluation"} - {split}
    assert not any(first in seed_range(other) or last in seed_range(other) for other in others)


def test_the_error_names_the_first_invalid_seed() -> None:
    with pytest.raises(ValueError, match="seed 10000 is not for training: use seeds from 0 to 9999"):
        require_seeds(range(9_998, 10_005), "training")
