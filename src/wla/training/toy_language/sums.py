"""Sums written with their steps: prompts without end, texts in many wordings, and whether a text is right.

Without torch, because recipes hold its sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int64

Split = Literal["training", "validation", "evaluation"]
WORDINGS = ("A + B + C = T U", "add A B C get T U", "T U from A B C", "put U keep T as A B C")
"""A step adds A and B, the digits of one place in either order, and the carry C to T U: carry and digit of the sum."""
CONCLUSION = "so"
WORDS = tuple(dict.fromkeys(word for wording in WORDINGS for word in wording.split() if word not in tuple("ABCTU")))
VOCABULARY = (*"0123456789", *WORDS, CONCLUSION, "<stop>", "<pad>", "<mask>")
STOP, PAD, MASK = range(len(VOCABULARY) - 3, len(VOCABULARY))
_IDS = {word: number for number, word in enumerate(VOCABULARY)}
_SPLITS: dict[Split, range] = {"training": range(8), "validation": range(8, 9), "evaluation": range(9, 10)}
"""Prompts of each split, as tenths of all prompts by `_tenth`."""


class Step(NamedTuple):
    """What is added at one place and what comes out."""

    operands: tuple[int, int, int]
    carry: int
    digit: int


def prompt_length(digits: int) -> int:
    """Tokens of a prompt: two numbers, a plus and an equals sign."""
    return 2 * digits + 2


def longest_text(digits: int) -> int:
    """Tokens of the longest text."""
    return digits * max(len(wording.split()) for wording in WORDINGS) + digits + 3


def draw_sums(count: int, digits: int, split: Split, rng: np.random.Generator) -> Int64[np.ndarray, "B 2"]:
    """Pairs of numbers of a split; no pair is in two of them."""
    found = np.empty((0, 2), np.int64)
    while len(found) < count:
        pairs = rng.integers(0, 10**digits, size=(4 * count, 2))
        found = np.concatenate([found, pairs[np.isin(_tenth(pairs, digits), _SPLITS[split])]])
    return found[:count]


def prompts_of(pairs: Int64[np.ndarray, "B 2"], digits: int) -> Int64[np.ndarray, "B T"]:
    """The tokens of "123+456="."""
    return np.array([encode(" ".join(f"{a:0{digits}}+{b:0{digits}}=")) for a, b in pairs.tolist()])


def texts_of(
    pairs: Int64[np.ndarray, "B 2"], digits: int, length: int, rng: np.random.Generator
) -> Int64[np.ndarray, "B N"]:
    """A text for each pair, every step in a wording and an order of its own, padded to a length."""
    rows = []
    for a, b in pairs.tolist():
        words = [_wording(step, rng) for step in steps_of(a, b, digits)]
        text = [*encode(f"{' '.join(words)} {CONCLUSION} {_spelled(a + b, digits)}"), STOP]
        rows.append(text + [PAD] * (length - len(text)))
    return np.array(rows)


def right(pair: Sequence[int], digits: int, text: Sequence[int]) -> bool:
    """Whether a text, up to its end, has every step in any of the wordings, without a mistake, and the right sum."""
    a, b = pair
    rest = list(text)
    for step in steps_of(a, b, digits):
        length = next((len(form) for form in _FORMS if _fits(step, form, rest[: len(form)])), None)
        if length is None:
            return False
        rest = rest[length:]
    return rest == [*encode(f"{CONCLUSION} {_spelled(a + b, digits)}"), STOP]


def steps_of(a: int, b: int, digits: int) -> list[Step]:
    """The steps of a sum, units first."""
    found, carry = [], 0
    for place in range(digits):
        operands = (a // 10**place % 10, b // 10**place % 10, carry)
        carry, digit = divmod(sum(operands), 10)
        found.append(Step(operands, carry, digit))
    return found


def encode(text: str) -> list[int]:
    """Tokens of words between spaces."""
    return [_IDS[word] for word in text.split()]


def decode(tokens: Sequence[int]) -> str:
    """The words of tokens."""
    return " ".join(VOCABULARY[token] for token in tokens)


def _spelled(total: int, digits: int) -> str:
    return " ".join(f"{total:0{digits + 1}}")


def _tenth(pairs: Int64[np.ndarray, "B 2"], digits: int) -> Int64[np.ndarray, " B"]:
    """A number from 0 to 9 of each pair, unrelated to its digits (multiplicative hashing by the golden ratio)."""
    index = (pairs[:, 0] * 10**digits + pairs[:, 1]).astype(np.uint64)
    return ((index * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)).astype(np.int64) % 10


def _wording(step: Step, rng: np.random.Generator) -> str:
    values = [*rng.permutation(step.operands[:2]).tolist(), step.operands[2], step.carry, step.digit]
    names = dict(zip("ABCTU", map(str, values), strict=True))
    return " ".join(names.get(word, word) for word in WORDINGS[rng.integers(len(WORDINGS))].split())


_FORMS = tuple(tuple(wording.split()) for wording in WORDINGS)


def _fits(step: Step, form: Sequence[str], tokens: Sequence[int]) -> bool:
    if len(tokens) < len(form):
        return False
    taken = dict(zip(form, tokens, strict=True))
    first, second, carried = step.operands
    if (taken["A"], taken["B"]) not in ((first, second), (second, first)):
        return False
    if (taken["C"], taken["T"], taken["U"]) != (carried, step.carry, step.digit):
        return False
    return all(word in "ABCTU" or _IDS[word] == token for word, token in zip(form, tokens, strict=True))
