"""Special tokens of the nano prompts: chat markers of Qwen, location tokens and meta-queries."""

from __future__ import annotations

PAD, START, END, IMAGE = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|image_pad|>"
BEGIN_QUERIES, END_QUERIES = "<|begin_of_img|>", "<|end_of_img|>"


def query_name(index: int) -> str:
    return f"<|query_{index}|>"


def location_name(index: int) -> str:
    """Token of one of the bins of a normalised coordinate."""
    return f"<|loc_{index}|>"


def special_tokens(queries: int, locations: int) -> list[str]:
    """The first entries of the vocabulary, in order."""
    tokens = [PAD, START, END, IMAGE, *map(location_name, range(locations)), BEGIN_QUERIES, END_QUERIES]
    return [*tokens, *map(query_name, range(queries))]
