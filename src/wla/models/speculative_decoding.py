"""Greedy text decoding with a verified draft: one pass when the model repeats the text of its last call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from wla.batch import left_pad
from wla.models.backbones.base import Backbone, Context
from wla.models.model import ModelInputs
from wla.runtime import upload

MAX_TEXT_TOKENS = 48
Rows = Sequence[Sequence[int]]


class Decoded(NamedTuple):
    """Generated text tokens of each sample.

    context: after the first pass, whose tokens end with the layout's suffix for all samples but those in `rows`. rest:
    the context of these up to their texts; the suffix is still to be read. None when there are none.
    """

    text_tokens: list[list[int]]
    context: Context
    rows: list[int]
    rest: Context | None


def decode(backbone: Backbone, inputs: ModelInputs) -> Decoded:
    """Greedy texts after the prompts. `inputs.texts` are drafts: they change the number of passes, never the texts.

    A draft is read with the prompt and, where the layout allows it, with the suffix. The model predicts the next token
    at each of its positions: when all agree, one pass was enough. Otherwise the draft is cut at the first difference
    and decoding continues from the same cache, for the samples that need it.
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
    rest, decoded = decode_text(backbone, rest, following, begun, layout.stop, MAX_TEXT_TOKENS)
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
    backbone: Backbone, context: Context, tokens: Sequence[int], generated: Rows, stop: int, limit: int
) -> tuple[Context, list[list[int]]]:
    """Greedy decoding from one cache until each sample has predicted `stop` or has `limit` tokens; one look at the
    device for each token.

    generated: the text of each sample so far; tokens: its next token.
    """
    texts = [list(text) for text in generated]
    while True:
        running = [token != stop and len(text) < limit for token, text in zip(tokens, texts, strict=True)]
        if not any(running):
            return context, texts
        for text, token, runs in zip(texts, tokens, running, strict=True):
            if runs:
                text.append(token)
        context = backbone.extend(context, torch.tensor(tokens)[:, None], torch.tensor(running)[:, None])
        following = next_tokens(backbone, context, [()] * len(texts), [0] * len(texts))
        tokens = [token if runs else stop for (token,), runs in zip(following, running, strict=True)]


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
