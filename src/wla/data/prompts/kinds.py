"""The kinds of prompts: nano's, the published chat's, and none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field
from transformers import PreTrainedTokenizerFast

from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.configs import ChatPromptConfig, PromptConfig
from wla.data.prompts.nano import CURRENT_PREFIX, FINISHED_PREFIX, Prompter
from wla.data.prompts.no_text import NoText
from wla.data.prompts.tokenizer import extend_tokenizer, train_tokenizer

AnyPromptConfig = Annotated[PromptConfig | ChatPromptConfig, Field(discriminator="kind")]
AnyPrompter = Prompter | ChatPrompter | NoText


def build_prompter(
    config: AnyPromptConfig | None, tokenizer: PreTrainedTokenizerFast | None, image_tokens: Mapping[str, int]
) -> AnyPrompter:
    """The prompter of a model; without a configuration that of a model without text.

    ValueError when the tokenizer lacks a token that the prompts need, or is missing itself.
    """
    if config is None:
        return NoText()
    if tokenizer is None:
        raise ValueError("there is no tokenizer for the prompts; a model with text has one")
    return config.build(tokenizer, image_tokens)


def trained_tokenizer(config: PromptConfig, texts: Iterable[str], *, size: int) -> PreTrainedTokenizerFast:
    """A new tokenizer with the tokens of these prompts, for these texts and those of a memory."""
    all_texts = [*texts, FINISHED_PREFIX, CURRENT_PREFIX]
    return train_tokenizer(all_texts, queries=config.queries, locations=config.locations, size=size)


def extended_tokenizer(
    tokenizer: PreTrainedTokenizerFast, texts: Iterable[str], *, size: int
) -> PreTrainedTokenizerFast:
    """The tokenizer with tokens for these texts and for those of a memory, as far as `size` allows."""
    return extend_tokenizer(tokenizer, [*texts, FINISHED_PREFIX, CURRENT_PREFIX], size=size)
