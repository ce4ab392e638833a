"""The toy language: many wordings of one sum, all right; anything else is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from wla.training.toy_language import sums


def text(words: str) -> list[int]:
    return sums.encode(words)


RIGHT = "5 + 7 + 0 = 1 2 add 9 3 1 get 1 3 so 1 3 2 <stop>"  # 37 + 95


@pytest.mark.parametrize(
    "words",
    [
        RIGHT,
        "7 + 5 + 0 = 1 2 1 3 from 9 3 1 so 1 3 2 <stop>",
        "put 2 keep 1 as 7 5 0 put 3 keep 1 as 9 3 1 so 1 3 2 <stop>",
    ],
)
def test_every_wording_is_right(words):
    assert sums.right((37, 95), 2, text(words))


@pytest.mark.parametrize(
    "words",
    [
        RIGHT.replace("get 1 3", "get 0 3"),
        RIGHT.replace("so 1 3 2", "so 1 3 3"),
        RIGHT.replace("5 + 7 + 0", "5 + 5 + 0"),  # two orders mixed
        RIGHT.replace("5 + 7 + 0 =", "add 7 + 0 ="),  # two wordings mixed
        RIGHT.removesuffix(" <stop>"),
        RIGHT + " <stop>",
        "5 + 7 + 0 = 1 2 so 1 3 2 <stop>",
        RIGHT.replace("5 + 7 + 0", "0 + 7 + 5"),  # the carry comes last
        "so 1 3 2 <stop>",
        "5 + 7",
        "",
    ],
)
def test_mistakes_and_mixtures_are_wrong(words):
    assert not sums.right((37, 95), 2, text(words))


def test_generated_texts_are_right_worded_in_many_ways_and_fit():
    rng = np.random.default_rng(0)
    pairs = sums.draw_sums(200, 3, "training", rng)
    texts = sums.texts_of(pairs, 3, 32, rng)
    lengths = (texts != sums.PAD).sum(1)
    for pair, row, length in zip(pairs.tolist(), texts.tolist(), lengths.tolist(), strict=True):
        assert sums.right(pair, 3, row[:length])
    assert lengths.max() <= sums.longest_text(3)
    assert len(set(lengths.tolist())) > 3
    same = sums.texts_of(np.repeat(pairs[:1], 100, 0), 3, 32, rng)
    assert len(np.unique(same, axis=0)) > 50


def test_no_sum_is_in_two_splits():
    drawn = {
        split: {tuple(pair) for pair in sums.draw_sums(3000, 2, split, np.random.default_rng(0)).tolist()}
        for split in ("training", "validation", "evaluation")
    }
    assert len(set.union(*drawn.values())) == sum(map(len, drawn.values()))
    assert 2 * len(drawn["evaluation"]) < len(drawn["training"])


def test_prompts_are_the_numbers_with_leading_zeros():
    (prompt,) = sums.prompts_of(np.array([[7, 123]]), 3).tolist()
    assert sums.decode(prompt) == "0 0 7 + 1 2 3 ="
    assert len(prompt) == sums.prompt_length(3)
