"""Packed weights: where each number lies, which weights packed ones are, and packings that are none."""

from __future__ import annotations

import pytest
import torch

from wla.models.inference.packing import constants_of, pack, packing_of, with_random_weights

WEIGHTS = {
    "a": torch.arange(24).reshape(4, 6).bfloat16(),
    "b": torch.arange(24, 48).reshape(4, 6).bfloat16(),
    "bias": torch.zeros(6),
}


def test_a_block_holds_pairs_of_rows_of_its_columns_and_the_last_is_filled_up():
    first, second = pack(WEIGHTS["a"], 4).flatten(1).tolist()
    assert first == [0, 6, 1, 7, 2, 8, 3, 9, 12, 18, 13, 19, 14, 20, 15, 21]
    assert second == [4, 10, 5, 11, 0, 0, 0, 0, 16, 22, 17, 23, 0, 0, 0, 0]


def test_packed_weights_are_found_and_made_of_others_again():
    packing = packing_of({"one": pack(WEIGHTS["b"], 4), "bias": WEIGHTS["bias"]}, WEIGHTS)
    assert packing == {"one": ("b", 4)}
    others = {name: weight + 1 for name, weight in WEIGHTS.items()}
    found = constants_of(["bias", "one"], others, packing)
    assert torch.equal(found["one"], pack(others["b"], 4))
    assert torch.equal(found["bias"], others["bias"])


def test_constants_of_unknown_origin_are_refused():
    with pytest.raises(ValueError, match=r"one \(2, 4, 4\)"):
        packing_of({"one": pack(WEIGHTS["a"], 4) + 1}, WEIGHTS)


@pytest.mark.parametrize("entry", [None, ["a"], ["c", 4], ["a", 0], ["bias", 4], ["a", "4"], "a4", {"a": 4}])
def test_packings_that_are_none_are_refused(entry):
    with pytest.raises(ValueError, match="no weights for 'one'"):
        constants_of(["one"], WEIGHTS, {"one": entry})


def test_no_two_random_weights_are_alike():
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)).requires_grad_(False)
    for weight in layers.parameters():
        weight.zero_()
    random = list(with_random_weights(layers).parameters())
    assert len({tuple(weight.flatten().tolist()) for weight in random}) == len(random)
    assert not any(weight.any() for weight in layers.parameters())
