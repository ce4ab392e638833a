"""From a prompt to words and query states: one pass when the model says again what it said last, or else decoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.nano import Prompter, left_pad
from wla.models.backbones.base import Context
from wla.models.wla import WLA, truncate_cache

MAX_TEXT_TOKENS = 48
Rows = Sequence[Sequence[int]]


class DecodeResult(NamedTuple):
    """What the model said (tokens of each sample), the context up to there or beyond, and the states of its queries."""

    text_tokens: list[list[int]]
    context: Context
    query_hidden: list[Float[Tensor, "B Q D"]]


class TextDecoder:
    """Reads for one model and its prompts."""

    def __init__(self, model: WLA, prompter: Prompter | ChatPrompter, device: torch.device) -> None:
        self._model, self._prompter, self._device = model, prompter, device

    def generate(self, prompts: Rows, images: Mapping[str, UInt8[Tensor, "B H W 3"]], drafts: Rows) -> DecodeResult:
        """Greedy words and the queries after them. drafts: what each sample may well say; its text is the same without.

        The draft is read with the prompt and, where the sequence allows it, with the queries. The model says at each of
        its places what would come next: when all of it agrees, one pass was all. Else the draft is cut at the first
        difference and decoding goes on from the same cache, for the rows of the batch that need it.
        """
        stop = self._prompter.stop
        drafts = [list(takewhile(lambda token: token != stop, draft))[:MAX_TEXT_TOKENS] for draft in drafts]
        drops, endings = zip(*(self._prompter.suffix_after(draft) for draft in drafts), strict=True)
        at_once = any(drafts) and not any(drops)
        tails = [list(ending) if at_once else [] for ending in endings]
        rows = [[*prompt, *draft, *tail] for prompt, draft, tail in zip(prompts, drafts, tails, strict=True)]
        tokens, mask = self._padded(rows)
        context = self._model.prefill(tokens, mask, images)
        nexts = self._model.next_tokens(context, drafts, [len(tail) for tail in tails])
        agreed = [_accepted_prefix(draft, own.tolist()) for draft, own in zip(drafts, nexts, strict=True)]
        first = torch.stack([own[count] for own, count in zip(nexts, agreed, strict=True)])
        over = [
            count == len(draft) and (token == stop or count == MAX_TEXT_TOKENS)
            for draft, count, token in zip(drafts, agreed, first.tolist(), strict=True)
        ]
        if at_once and all(over):
            return DecodeResult([list(draft) for draft in drafts], context, self._model.query_hidden(context, tokens))
        wrong = [len(draft) - count + len(tail) for draft, count, tail in zip(drafts, agreed, tails, strict=True)]
        begun = [draft[:count] for draft, count in zip(drafts, agreed, strict=True)]
        going = [row for row, done in enumerate(over) if not (at_once and done)]
        if len(going) == len(over):
            context = truncate_cache(context, torch.tensor(wrong, device=self._device))
            context, text_tokens = self._model.decode_text(context, first, begun, stop, MAX_TEXT_TOKENS)
            return self._encode_queries(text_tokens, context)
        accepted = DecodeResult([list(draft) for draft in drafts], context, self._model.query_hidden(context, tokens))
        rest = truncate_cache(select_rows(context, going), torch.tensor([wrong[row] for row in going]).to(self._device))
        rest, texts = self._model.decode_text(rest, first[going], [begun[row] for row in going], stop, MAX_TEXT_TOKENS)
        return _merged(accepted, going, self._encode_queries(texts, rest))

    def encode_given(
        self, prompts: Rows, images: Mapping[str, UInt8[Tensor, "B H W 3"]], text_tokens: Rows
    ) -> DecodeResult:
        """The queries after words that are given."""
        tokens, mask = self._padded([[*prompt, *text] for prompt, text in zip(prompts, text_tokens, strict=True)])
        return self._encode_queries([list(text) for text in text_tokens], self._model.prefill(tokens, mask, images))

    def _encode_queries(self, text_tokens: list[list[int]], context: Context) -> DecodeResult:
        drops, endings = zip(*(self._prompter.suffix_after(text) for text in text_tokens), strict=True)
        tokens, mask = self._padded(endings)
        states = self._model.encode_queries(context, tokens, mask, torch.tensor(drops, device=self._device))
        return DecodeResult(text_tokens, context, states)

    def _padded(self, rows: Rows) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"]]:
        tokens, mask = left_pad(rows, self._prompter.pad)
        return tokens.to(self._device), mask.to(self._device)


def select_rows(context: Context, rows: Sequence[int]) -> Context:
    """Some rows of a context, to be extended on their own. The cache is theirs from now on."""
    assert context.cache is not None, "read with keep_cache=True before extending"
    index = torch.tensor(rows, device=context.last.device)
    context.cache.batch_select_indices(index)
    return Context(
        layers=[states[index] for states in context.layers],
        images={name: features[index] for name, features in context.images.items()},
        attention_mask=context.attention_mask[index],
        cache=context.cache,
        shift=context.shift[index] if isinstance(context.shift, Tensor) else context.shift,
    )


def _merged(accepted: DecodeResult, rows: Sequence[int], decoded: DecodeResult) -> DecodeResult:
    """The result of a batch of which these rows were decoded further. Its context is not to be extended."""
    texts = list(accepted.text_tokens)
    for row, text in zip(rows, decoded.text_tokens, strict=True):
        texts[row] = text
    query_hidden = []
    for ours, theirs in zip(accepted.query_hidden, decoded.query_hidden, strict=True):
        query_hidden.append(ours.index_copy(0, torch.tensor(rows, device=ours.device), theirs))
    return DecodeResult(texts, replace(accepted.context, cache=None), query_hidden)


def _accepted_prefix(draft: Sequence[int], own: Sequence[int]) -> int:
    """How many tokens of the draft, from its beginning, are what the model says itself."""
    return next((index for index, token in enumerate(draft) if own[index] != token), len(draft))
