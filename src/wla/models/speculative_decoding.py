"""Greedy text decoding with verified drafts: one pass when the model repeats the text of its last call; else two for
each further draft that is made for it, or one for each token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from wla.batch import left_pad
from wla.models.backbones.base import Backbone, Context
from wla.models.model import ModelInputs, TextLayout
from wla.runtime import upload

MAX_TEXT_TOKENS = 48
Rows = Sequence[Sequence[int]]


class Drafter(Protocol):
    """Something that guesses the rest of texts."""

    def draft(
        self, backbone: Backbone, context: Context, tokens: Int64[Tensor, " B"], running: Bool[Tensor, " B"]
    ) -> Int64[Tensor, "B K"]:
        """The tokens after each of these, which follow the context. running: rows whose answers are used."""
        ...


class Decoded(NamedTuple):
    """Generated text tokens of each sample.

    context: after the first pass, whose tokens end with the layout's suffix for all samples but those in `rows`. rest:
    the context of these up to their texts; the suffix is still to be read. None when there are none.
    """

    text_tokens: list[list[int]]
    context: Context
    rows: list[int]
    rest: Context | None


def decode(backbone: Backbone, inputs: ModelInputs, drafter: Drafter | None = None) -> Decoded:
    """Greedy texts after the prompts. `inputs.texts` are drafts: they change the number of passes, never the texts.

    A draft is read with the prompt and, where the layout allows it, with the suffix. The model predicts the next token
    at each of its positions: when all agree, one pass was enough. Otherwise the draft is cut at the first difference
    and decoding continues from the same cache, for the samples that need it, with the drafter's drafts.
    """
    layout = inputs.layout
    drafts = [list(takewhile(lambda token: token != layout.stop, draft))[:MAX_TEXT_TOKENS] for draft in inputs.texts]
    drops, endings = zip(*(layout.suffix_after(draft) for draft in drafts), strict=True)
    at_once = any(drafts) and not any(drops)
    tails = [list(ending) if at_once else [] for ending in endings]
    prompts = [[*prompt, *draft, *tail] for prompt, draft, tail in zip(inputs.prompts, drafts, tails, strict=True)]
    last = max(1 + len(draft) + len(tail) for draft, tail in zip(drafts, tails, strict=True))
    context = backbone.read(*left_pad(prompts, layout.pad), inputs.images, last)
    nexts = next_tokens(backbone, context, drafts, [len(tail) for tail in tails])
    agreed = [_accepted_prefix(draft, own) for draft, own in zip(drafts, nexts, strict=True)]
    first = [own[count] for own, count in zip(nexts, agreed, strict=True)]
    over = [
        count == len(draft) and (token == layout.stop or count == MAX_TEXT_TOKENS)
        for draft, count, token in zip(drafts, agreed, first, strict=True)
    ]
    texts = [list(draft) for draft in drafts]
    rows = [row for row, done in enumerate(over) if not (at_once and done)]
    if not rows:
        return Decoded(texts, context, rows, None)
    wrong = [len(drafts[row]) - agreed[row] + len(tails[row]) for row in rows]
    rest = context if len(rows) == len(texts) else select_rows(context, rows)
    rest = truncate_cache(rest, wrong)
    begun = [drafts[row][: agreed[row]] for row in rows]
    following = [first[row] for row in rows]
    rest, decoded = decode_text(backbone, rest, following, begun, layout, MAX_TEXT_TOKENS, drafter)
    for row, text in zip(rows, decoded, strict=True):
        texts[row] = text
    return Decoded(texts, context, rows, rest)


def next_tokens(backbone: Backbone, context: Context, drafts: Rows, tails: Sequence[int]) -> list[list[int]]:
    """The model's own next token at each position of a draft that was read with the prompt, and after the draft: one
    look at the device for all samples.

    drafts: of each sample, in front of its last `tails` tokens that were read; an empty one is the prompt's end.
    """
    if context.following is not None:
        rows = (own[: len(own) - tail] for own, tail in zip(context.following.tolist(), tails, strict=True))
        return [own[-len(draft) - 1 :] for own, draft in zip(rows, drafts, strict=True)]
    states, positions = context.last, list[int]()
    length = states.shape[1]
    for row, (draft, tail) in enumerate(zip(drafts, tails, strict=True)):
        end = (row + 1) * length - tail
        positions += range(end - len(draft) - 1, end)
    index = upload(torch.tensor(positions), states.device)
    found = iter(backbone.logits(states.flatten(0, 1)[index]).argmax(-1).tolist())
    return [list(islice(found, len(draft) + 1)) for draft in drafts]


def decode_text(
    backbone: Backbone,
    context: Context,
    tokens: Sequence[int],
    generated: Rows,
    layout: TextLayout,
    limit: int,
    drafter: Drafter | None = None,
) -> tuple[Context, list[list[int]]]:
    """Greedy decoding from one cache until each sample has predicted the layout's stop or has `limit` tokens.

    A pass reads the next token and the draft that follows it, and keeps what the model itself predicts: one
    token without a drafter. One look at the device for each pass, and one for each draft.

    generated: the text of each sample so far; tokens: its next token.
    """
    texts = [list(text) for text in generated]
    while True:
        running = [token != layout.stop and len(text) < limit for token, text in zip(tokens, texts, strict=True)]
        if not any(running):
            return context, texts
        rooms = [limit - len(text) - 1 if runs else 0 for text, runs in zip(texts, running, strict=True)]
        drafts = _drafted(drafter, backbone, context, tokens, running, rooms, layout.stop)
        read = [[token, *draft] if runs else [] for token, draft, runs in zip(tokens, drafts, running, strict=True)]
        context = backbone.extend(context, *left_pad(read, layout.pad))
        nexts = next_tokens(backbone, context, drafts, [0] * len(texts))
        agreed = [_accepted_prefix(draft, own) for draft, own in zip(drafts, nexts, strict=True)]
        for text, row, count in zip(texts, read, agreed, strict=True):
            text += row[: 1 + count]
        context = truncate_cache(context, [len(draft) - count for draft, count in zip(drafts, agreed, strict=True)])
        tokens = [own[count] if runs else layout.stop for own, count, runs in zip(nexts, agreed, running, strict=True)]


def _drafted(
    drafter: Drafter | None,
    backbone: Backbone,
    context: Context,
    tokens: Sequence[int],
    running: Sequence[bool],
    rooms: Sequence[int],
    stop: int,
) -> list[list[int]]:
    """Drafts of each text after its next token, up to its end; none where there is room for none."""
    if drafter is None or not any(rooms):
        return [[] for _ in tokens]
    device = context.last.device
    next_token, rows = upload(torch.tensor(tokens), device), upload(torch.tensor(running), device)
    guessed = drafter.draft(backbone, context, next_token, rows).tolist()
    return [list(takewhile(lambda token: token != stop, row[:room])) for row, room in zip(guessed, rooms, strict=True)]


def select_rows(context: Context, rows: Sequence[int]) -> Context:
    """Some samples of a context, to be extended on their own. The cache is theirs from now on."""
    assert context.cache is not None, "read with keep_cache=True before extending"
    index = upload(torch.tensor(rows), context.last.device)
    context.cache.batch_select_indices(index)
    return Context(
        layers=[states[index] for states in context.layers],
        images={name: features[index] for name, features in context.images.items()},
        attention_mask=context.attention_mask[index],
        cache=context.cache,
        shift=context.shift[index] if isinstance(context.shift, Tensor) else context.shift,
        unpadded=context.unpadded,
    )


def truncate_cache(context: Context, drop: Sequence[int]) -> Context:
    """The context without the last `drop` tokens of each sample."""
    if not any(drop):
        return context
    kept = context.attention_mask
    last = kept.flip(1).long().cumsum(1).flip(1)  # the last token that counts is 1, the one before it 2
    dropped = upload(torch.tensor(drop), kept.device)
    return replace(context, attention_mask=kept & (last > dropped[:, None]), unpadded=False)


def _accepted_prefix(draft: Sequence[int], own: Sequence[int]) -> int:
    """Number of tokens, from the beginning of the draft, that the model predicts itself."""
    return next((index for index, token in enumerate(draft) if own[index] != token), len(draft))
