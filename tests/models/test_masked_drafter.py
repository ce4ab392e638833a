"""Drafts save passes and change no text; what they are trained on is what they meet when the policy acts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import tiny
import torch
from test_speculative_decoding import LIMIT, Decoder, case, short_texts
from torch import nn

from wla.batch import Batch, left_pad
from wla.models.configs import MaskedDraftsConfig
from wla.models.masked_drafter import MaskedDrafter
from wla.models.wla import WLA
from wla.types import IGNORE_INDEX

TOKENS = 5


__all__ = ["case", "short_texts"]  # fixtures


def drafter_of(model: WLA, *, random: bool = True) -> MaskedDrafter:
    drafter = MaskedDrafter(
        model.backbone, model.config.backbone.text_layers, MaskedDraftsConfig(tokens=TOKENS, rank=4)
    )
    if random:
        for adapter in drafter.adapters:
            torch.nn.init.normal_(adapter.up, std=0.1, generator=torch.Generator().manual_seed(0))
    return drafter


@contextmanager
def drafting(model: WLA, drafter: nn.Module) -> Iterator[None]:
    model.drafter = drafter
    try:
        yield
    finally:
        model.drafter = None


class Oracle(nn.Module):
    """Drafts that are right up to a place in each, and wrong from there."""

    def __init__(self, texts: list[list[int]], stop: int, right: int) -> None:
        super().__init__()
        self.texts, self.stop, self.right = texts, stop, right

    def draft(self, backbone, context, tokens, running):
        rows = []
        for text, token in zip(self.texts, tokens.tolist(), strict=True):
            rest = [*text[text.index(token) + 1 :], self.stop] if token in text else []
            rows.append([*rest[: self.right], *[299] * TOKENS][:TOKENS])
        return torch.tensor(rows)


def test_texts_and_states_are_those_of_plain_decoding(case):
    drafter, lengths = drafter_of(case.model), set()
    for seed in range(4):
        prompts, images = case.draw(16, seed)
        plain = case.generate(prompts, images, [[]] * 16)
        drafts = [text[: row % 3] for row, text in enumerate(plain.text_tokens)]
        with drafting(case.model, drafter):
            drafted = case.generate(prompts, images, drafts)
        assert drafted.text_tokens == plain.text_tokens
        for ours, theirs in zip(drafted.query_hidden, plain.query_hidden, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-3)
        lengths |= {len(text) for text in plain.text_tokens}
    assert len(lengths) > 2


@pytest.mark.parametrize("right", [0, 2, TOKENS])
def test_a_pass_reads_what_was_drafted_right(case, monkeypatch, right):
    prompts, images = next(
        drawn for seed in range(50) for drawn in [case.draw(1, seed)] if _all_different(case.generate(*drawn, [[]]))
    )
    plain = case.generate(prompts, images, [[]])
    (text,) = plain.text_tokens
    passes, extend = [], case.model.backbone.extend
    monkeypatch.setattr(case.model.backbone, "extend", lambda *a: passes.append(a[1].shape[1]) or extend(*a))
    with drafting(case.model, Oracle(plain.text_tokens, case.prompter.stop, right)):
        assert case.generate(prompts, images, [[]]).text_tokens == plain.text_tokens
    per_pass = right + 1
    assert len(passes) - 1 == -(-len(text) // per_pass)  # the last pass reads the queries


def _all_different(encoding) -> bool:
    (text,) = encoding.text_tokens
    return len(text) == LIMIT and len(set(text)) == LIMIT


def test_a_draft_leaves_the_context_as_it_is(case):
    prompts, images = case.draw(2, 0)
    tokens, mask = left_pad(prompts, case.prompter.pad)
    drafter = drafter_of(case.model)
    with torch.no_grad():
        context = case.model.backbone.encode(tokens, mask, images, keep_cache=True)
        first, second = (
            drafter.draft(case.model.backbone, context, torch.tensor([120, 130]), torch.tensor([True, True]))
            for _ in range(2)
        )
    assert context.cache.get_seq_length() == context.attention_mask.shape[1] == tokens.shape[1]
    assert first.tolist() == second.tolist()
    assert first.shape == (2, TOKENS)


def batch_of(case: Decoder, texts: list[list[int]], seed: int = 0) -> Batch:
    """Training samples with these texts; an empty one is a sample without subtasks."""
    prompts, images = case.draw(len(texts), seed)
    suffix = [case.prompter.suffix_after(text)[1] for text in texts]
    rows = [[*prompt, *text, *end] for prompt, text, end in zip(prompts, texts, suffix, strict=True)]
    tokens, mask = left_pad(rows, case.prompter.pad)
    labels = torch.full_like(tokens, IGNORE_INDEX)
    for row, (text, end) in enumerate(zip(texts, suffix, strict=True)):
        if text:
            last = tokens.shape[1] - len(end)
            labels[row, last - len(text) - 1 : last] = torch.tensor([*text, case.prompter.stop])
    count = len(texts)
    zeros = torch.zeros(count, tiny.CHUNK, tiny.ACTION)
    return Batch(
        tokens, mask, labels, images, torch.zeros(count, case.state), zeros, zeros.bool(), None, torch.zeros(count) > 0
    )


def test_training_meets_what_acting_meets(case, monkeypatch):
    """The logits that the loss is of are those after the same text when the policy acts."""
    texts = [[101, 102, 103, 104], [110], [120, 121, 122, 123, 124, 125, 126]]
    batch, drafter, seen = batch_of(case, texts), drafter_of(case.model), {}
    inner = drafter.logits

    def logits(backbone, context, tokens, running):
        seen.update(tokens=tokens, logits=inner(backbone, context, tokens, running))
        return seen["logits"]

    monkeypatch.setattr(drafter, "logits", logits)
    with torch.no_grad():
        loss = drafter.loss(case.model.backbone, batch, torch.Generator().manual_seed(3))
        prompts, images = case.draw(len(texts), 0)
        terms = []
        for row, text in enumerate(texts):
            place = text.index(int(seen["tokens"][row]))
            tokens, mask = left_pad([[*prompts[row], *text[:place]]], case.prompter.pad)
            own = {name: image[row : row + 1] for name, image in images.items()}
            context = case.model.backbone.encode(tokens, mask, own, keep_cache=True)
            expected = inner(case.model.backbone, context, seen["tokens"][row : row + 1], torch.tensor([True]))[0]
            torch.testing.assert_close(seen["logits"][row], expected, atol=2e-4, rtol=1e-3)
            rest = [*text[place + 1 :], case.prompter.stop][:TOKENS]
            terms += [-expected.log_softmax(-1)[index, token] for index, token in enumerate(rest)]
    torch.testing.assert_close(loss, torch.stack(terms).mean(), atol=1e-4, rtol=1e-3)


def test_samples_without_text_teach_nothing(case):
    drafter = drafter_of(case.model)
    alone, both = batch_of(case, [[]]), batch_of(case, [[101, 102], []])
    assert float(drafter.loss(case.model.backbone, alone).detach()) == 0
    drafter.loss(case.model.backbone, both).backward()
    assert all(adapter.up.grad.abs().sum() > 0 for adapter in drafter.adapters)


def test_drafts_are_learned():
    """From random weights: the first token tells which of four texts it is."""
    torch.manual_seed(0)
    checkpoint = tiny.checkpoint()
    model = checkpoint.model.eval().requires_grad_(False)
    model.backbone.text.embed_tokens.weight.mul_(20)  # random logits are too small for an answer to stand out
    case = Decoder(tiny)
    case.model, case.prompter = model, checkpoint.prompter
    rng = np.random.default_rng(0)
    texts = [rng.choice(np.arange(100, 140), TOKENS, replace=False).tolist() for _ in range(4)]
    batch = batch_of(case, texts)
    drafter = MaskedDrafter(model.backbone, "text.layers", MaskedDraftsConfig(tokens=TOKENS, rank=16))
    optimizer = torch.optim.Adam(drafter.parameters(), lr=0.003)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(400):
        optimizer.zero_grad()
        loss = drafter.loss(model.backbone, batch, generator)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-20:]) < 1.0  # 20 different tokens: 3.0 without knowing which text it is
