"""Words from a verified draft are those of plain greedy decoding, and so are the query states."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import tiny
import tiny_qwen
import torch
from torch.nn.functional import layer_norm

from wla.models import speculative_decoding
from wla.models.backbone_policy import BackboneEncoding
from wla.models.model import ModelInputs

ROWS, ROUNDS, LIMIT = 64, 16, 6


def nowhere_else(logits: torch.Tensor) -> torch.Tensor:
    """Logits of the words from 100 on, as logits of all words."""
    return torch.nn.functional.pad(logits, (100, 0), value=-torch.inf)


class Decoder:
    """A policy with random weights, and drawn prompts and images for it."""

    def __init__(self, module) -> None:
        checkpoint = module.checkpoint(language=True, first=True) if module is tiny_qwen else module.checkpoint()
        self.model, self.prompter = checkpoint.model.eval(), checkpoint.prompter
        # Tied random weights say one word again and again; others say many, and stop now and then.
        head = torch.randn(300, self.model.backbone.width, generator=torch.Generator().manual_seed(0))
        head[:3] *= 2
        self.prompter.stop = 100
        self.model.backbone.logits = lambda states: nowhere_else(layer_norm(states, states.shape[-1:]) @ head.T)
        self.state = module.STATE

    def draw(self, rows: int, seed: int):
        rng = np.random.default_rng(seed)
        words = [f"{a} the {b} block" for a, b in rng.choice(["go", "red", "lift", "press"], (rows, 2))]
        prompts = [self.prompter.prompt(text, rng.uniform(-1, 1, self.state)) for text in words]
        sides = self.model.config.backbone.cameras
        images = {
            name: torch.from_numpy(rng.integers(0, 256, (rows, side, side, 3), dtype=np.uint8))
            for name, side in sides.items()
        }
        return prompts, images

    @torch.inference_mode()
    def generate(self, prompts, images, drafts: Sequence[Sequence[int]]) -> BackboneEncoding:
        proprio = torch.zeros(len(prompts), self.state)
        return self.model.generate(ModelInputs(images, proprio, prompts, drafts, self.prompter))


@pytest.fixture(autouse=True)
def short_texts(monkeypatch) -> None:
    monkeypatch.setattr(speculative_decoding, "MAX_TEXT_TOKENS", LIMIT)


@pytest.fixture(scope="module", params=[tiny, tiny_qwen], ids=["nano", "published"])
def case(request) -> Decoder:
    return Decoder(request.param)


def altered(text: list[int], rng: np.random.Generator) -> list[int]:
    """The text itself, a beginning, one that goes on, one with another token, or nothing."""
    kind, place = int(rng.integers(5)), int(rng.integers(len(text) + 1))
    other = int(rng.integers(100, 300))
    return [text, text[:place], [*text, other], [*text[:place], other, *text[place + 1 :]], []][kind]


def test_the_text_is_that_of_plain_decoding_whatever_the_draft(case):
    """Over a thousand texts; drafts of one batch differ in length and in where they are cut."""
    rng = np.random.default_rng(0)
    lengths = set()
    for seed in range(ROUNDS):
        prompts, images = case.draw(ROWS, seed)
        plain = case.generate(prompts, images, [[]] * ROWS)
        drafted = case.generate(prompts, images, [altered(text, rng) for text in plain.text_tokens])
        assert drafted.text_tokens == plain.text_tokens
        for ours, theirs in zip(drafted.query_hidden, plain.query_hidden, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
        lengths |= {len(text) for text in plain.text_tokens}
    assert len(lengths) > 3


def test_a_draft_that_holds_takes_no_further_pass(case, monkeypatch):
    prompts, images = case.draw(1, 1)
    plain = case.generate(prompts, images, [[]])
    calls = []
    extend = case.model.backbone.extend
    monkeypatch.setattr(case.model.backbone, "extend", lambda *a: calls.append(a[1].shape[1]) or extend(*a))
    case.generate(prompts, images, plain.text_tokens)
    drop, ending = case.prompter.suffix_after(plain.text_tokens[0])
    # Where the newline joins the last full stop to one token, the queries cannot be read before that one is dropped.
    assert calls == ([len(ending)] if drop else [])


def test_a_draft_that_is_too_long_or_wrong_from_the_start_changes_nothing(case):
    prompts, images = case.draw(2, 2)
    plain = case.generate(prompts, images, [[], []])
    assert all(len(text) <= LIMIT for text in plain.text_tokens)
    wrong = [[(token + 1) % 300 + 90 for token in range(200)]] * 2
    assert case.generate(prompts, images, wrong).text_tokens == plain.text_tokens
