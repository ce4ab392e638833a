"""Examples of the tensors that each function of a model is called with, and which of their dimensions are free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from wla.models.backbones.configs import TextSizes
from wla.models.backbones.nano import NanoBackbone
from wla.models.inference.reading import read_image
from wla.models.inference.sampling import cross_blocks
from wla.models.wla import WLA

MAX_ROWS, MAX_TOKENS = 256, 4096
"""Largest batch and prompt that functions are compiled for."""
ROWS, NEW, PAST, LENGTH = 2, 3, 5, 64
"""Free sizes of the examples: each another one, so that none is taken for another."""


@dataclass(frozen=True)
class Example:
    """free: in the nested form of `torch.export.export`."""

    tensors: tuple[Tensor, ...]
    free: tuple[Any, ...]


def reading_examples(backbone: NanoBackbone) -> dict[str, Example]:
    """Examples for the functions that a backbone consists of."""
    rows, dtype = Dim("rows", min=1, max=MAX_ROWS), backbone.text.embed_tokens.weight.dtype
    found = {read_image(side): _read_image(side, rows) for side in backbone.config.cameras.values()}
    found["read_prompt"] = _read_prompt(backbone, dtype, rows)
    found["read_text"] = read_text_example(backbone.config.text_sizes, dtype, rows)
    return found


def image_examples(model: WLA) -> dict[str, Example]:
    """Examples for the functions that predict images; none where nothing is known of them."""
    if model.world_expert is None:
        return {}
    rows, config = Dim("rows", min=1, max=MAX_ROWS), model.config.world_expert
    width, dtype = model.backbone.width, model.world_expert.sana.dtype
    side, channels, heads = config.latent_size, config.latent_channels, config.cross_heads
    tokens = [model.backbone.image_tokens[model.backbone.primary], *[model.config.queries.count] * config.layers]
    states = [torch.zeros(ROWS, count, width, dtype=dtype) for count in tokens]
    inner = config.heads * config.head_width
    latents = torch.zeros(ROWS, channels * (2 if config.condition_on_current_frame else 1), side, side)
    level = torch.zeros(7, inner, dtype=dtype)
    pairs = [torch.zeros(ROWS, 2 * heads, sum(tokens[:2]), inner // heads, dtype=dtype) for _ in range(config.layers)]
    images = torch.zeros(ROWS, *[model.config.target_side] * 2, 3, dtype=torch.uint8)
    free = tuple({0: rows} for _ in pairs)
    return {
        "start_images": Example(tuple(states), ({0: rows}, free)),
        "image_velocity": Example((latents, level, *pairs), ({0: rows}, {}, free)),
        "encode_image": Example((images,), ({0: rows},)),
        "decode_image": Example((torch.zeros(ROWS, model.config.codec.latent_channels, side, side),), ({0: rows},)),
    }


def sampling_examples(model: WLA) -> dict[str, Example]:
    """Examples for the functions that sample actions."""
    rows = Dim("rows", min=1, max=MAX_ROWS)
    return {"start_sampling": start_sampling_example(model, rows), "action_velocity": velocity_example(model, rows)}


def _read_image(side: int, rows: Dim) -> Example:
    return Example((torch.zeros(ROWS, side, side, 3, dtype=torch.uint8),), ({0: rows},))


def _read_prompt(backbone: NanoBackbone, dtype: torch.dtype, rows: Dim) -> Example:
    head, tail = Dim("head", min=1, max=MAX_TOKENS), Dim("tail", min=1, max=MAX_TOKENS)
    tokens = [torch.zeros(ROWS, length, dtype=torch.int64) for length in (LENGTH, NEW)]
    features = [torch.zeros(ROWS, count, backbone.width, dtype=dtype) for count in backbone.image_tokens.values()]
    free = ({0: rows, 1: head}, {0: rows, 1: tail}, {0: rows}, tuple({0: rows} for _ in features))
    return Example((*tokens, torch.zeros(ROWS, 1, dtype=torch.int64), *features), free)


def read_text_example(sizes: TextSizes, dtype: torch.dtype, rows: Dim) -> Example:
    """Example for a function that reads further tokens after cached ones."""
    new, past = Dim("new", min=1, max=MAX_TOKENS), Dim("past", min=1, max=MAX_TOKENS)
    cached = [torch.zeros(ROWS, sizes.groups, PAST, sizes.head_width, dtype=dtype) for _ in range(2 * sizes.layers)]
    tokens, mask = torch.zeros(ROWS, NEW, dtype=torch.int64), torch.ones(ROWS, NEW, dtype=torch.bool)
    past_mask = torch.ones(ROWS, PAST, dtype=torch.bool)
    free = ({0: rows, 1: new}, {0: rows, 1: new}, {0: rows, 1: past}, tuple({0: rows, 2: past} for _ in cached))
    return Example((tokens, mask, past_mask, *cached), free)


def start_sampling_example(model: WLA, rows: Dim) -> Example:
    """Example for `StartSampling`."""
    dtype = model.action_expert.positions.dtype
    queries, width = model.config.queries.count, model.backbone.width
    state = model.action_expert.state_input(torch.zeros(ROWS, model.config.action_expert.state_dim))
    hidden = [torch.zeros(ROWS, queries, width, dtype=dtype) for _ in cross_blocks(model.action_expert)]
    return Example((state, *hidden), ({0: rows}, tuple({0: rows} for _ in hidden)))


def velocity_example(model: WLA, rows: Dim) -> Example:
    """Example for `ActionVelocity`, with a time for each action."""
    config, dtype = model.config.action_expert, model.action_expert.positions.dtype
    width, scores = config.width, config.heads * model.config.queries.count
    x, own = torch.zeros(ROWS, config.chunk, config.action_dim), torch.ones(ROWS, 1, config.action_dim)
    token = torch.zeros(ROWS, 1, width, dtype=dtype)
    shapes = [(width, scores), (1, scores), (scores, width)] * len(cross_blocks(model.action_expert))
    condition = [torch.zeros(ROWS, *shape, dtype=dtype) for shape in shapes]
    free: tuple[Any, ...] = ({0: rows}, {}, {0: rows}, {0: rows}, tuple({0: rows} for _ in condition))
    return Example((x, torch.zeros(config.chunk, width, dtype=dtype), own, token, *condition), free)
