"""Configuration of prompts.

Apart from the prompters, because a recipe is read and printed without the libraries of tokenizers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from wla.config import Config
from wla.data.memory import MemoryConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from wla.data.prompts.chat import ChatPrompter
    from wla.data.prompts.nano import Prompter


class PromptConfig(Config):
    """queries: number of meta-queries; locations: number of bins for a coordinate in [-1, 1]."""

    kind: Literal["nano"] = "nano"
    queries: int = Field(default=8, ge=1, le=1024)
    locations: int = Field(default=64, ge=2, le=4096)
    language: bool = True
    """Whether the model generates subtasks before the queries."""
    memory: MemoryConfig | None = None
    """Limits of the memory in the prompt; None: neither finished subtasks nor those predicted last are in it."""
    history: int = Field(default=0, ge=0)
    """Control steps between now and the images of the past, for models that have any."""
    instruction_tokens: int = Field(default=128, ge=1)
    """Maximum length of an instruction; longer ones are an error."""

    def build(self, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]) -> Prompter:
        from wla.data.prompts.nano import Prompter

        return Prompter(self, tokenizer, image_tokens)


class ChatPromptConfig(Config):
    """queries: number of meta-queries. language: whether the model generates subtasks before the queries.

    history: control steps between now and the images of the past. system: text of the system turn (None: no such turn).
    """

    kind: Literal["chat"] = "chat"
    queries: int = Field(default=64, ge=1, le=1024)
    language: bool = False
    history: int = Field(default=8, ge=0)
    system: str | None = ""
    instruction_tokens: int = Field(default=256, ge=1)
    """Maximum length of an instruction; longer ones are cut in training and an error in acting."""
    memory: MemoryConfig = MemoryConfig(tokens=1024, merge_counters=False)
    """Limits of the previous subtasks in language mode. The published system has none."""

    def build(self, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]) -> ChatPrompter:
        from wla.data.prompts.chat import ChatPrompter

        return ChatPrompter(self, tokenizer, image_tokens)
