"""Token sequences: what the backbone reads, in training and in acting.

user turn: instruction, image placeholders (one run per camera), the state as location words, with memory also what was
finished and what was said last - assistant turn: the subtask text - newline, begin marker, meta-queries. The end marker
and the turn's end, which nothing can read any more, are left out. `wla.data.prompts.chat` holds the published ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.memory import MemoryConfig
from wla.data.prompts import tokenizer as vocab
from wla.types import IGNORE_INDEX

SEPARATOR = "; "
FINISHED_PREFIX, CURRENT_PREFIX = "done:", "now:"


class PromptConfig(Config):
    """queries: number of meta-queries; locations: number of bins for a coordinate in [-1, 1]."""

    kind: Literal["nano"] = "nano"
    queries: int = 8
    locations: int = 64
    language: bool = True
    """Whether subtasks are said before the queries."""
    memory: MemoryConfig | None = None
    """How much of what was finished is told; None: neither that nor what was said last."""
    history: int = Field(default=0, ge=0)
    """How many steps before now the images of the past were taken, for models that see any."""
    instruction_tokens: int = 128
    """Longer instructions are refused."""

    def build(self, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]) -> Prompter:
        return Prompter(self, tokenizer, image_tokens)


class Prompter:
    """Builds token sequences for one tokenizer and one set of cameras; encoded texts are remembered."""

    def __init__(
        self, config: PromptConfig, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.pad, self.start, self.stop, image, begin, end, first, last = (
            self._id(name)
            for name in (
                vocab.PAD,
                vocab.START,
                vocab.END,
                vocab.IMAGE,
                vocab.BEGIN_QUERIES,
                vocab.END_QUERIES,
                vocab.query_name(0),
                vocab.query_name(config.queries - 1),
            )
        )
        if last - first != config.queries - 1:
            raise ValueError("tokenizer: the meta-queries are not consecutive vocabulary entries")
        self.begin_queries, self.end_queries, self.first_query, self.image = begin, end, first, image
        self.first_location = self._id(vocab.location_name(0))
        self._id(vocab.location_name(config.locations - 1))
        self.images = [image] * sum(image_tokens.values())
        self.newline = self.encode("\n")
        self._separator = self._id(SEPARATOR.strip())
        self._token_cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    @property
    def history(self) -> int:
        """Steps between now and the images of the past."""
        return self.config.history

    @property
    def predicts_subtasks(self) -> bool:
        """Whether the model is asked for subtasks."""
        return self.config.language

    def previous_frames(self, frame: int, start: int) -> None:
        """None: a training prompt holds what a policy would have predicted when it last acted, not the labels of all
        previous frames."""

    @property
    def memory(self) -> MemoryConfig | None:
        """How much of the past is told."""
        return self.config.memory

    def prompt(
        self,
        instruction: str,
        state: Float[np.ndarray, " S"],
        *,
        memory: Sequence[str] = (),
        current_subtasks: Sequence[str] = (),
        has_history: bool = True,
    ) -> list[int]:
        """Everything before the subtask text or, without language, before the queries. state is normalised to [-1, 1].

        memory: the subtasks that are finished; running: the window that was said last.
        """
        tokens = [self.start, *self.text(instruction), *self.images, *self.location_tokens(state)]
        if self.config.memory is not None:
            tokens += [
                *self.text(FINISHED_PREFIX),
                *self._listed(memory),
                *self.text(CURRENT_PREFIX),
                *self._listed(current_subtasks),
            ]
        return [*tokens, self.stop, self.start]

    def length(self, text: str) -> int:
        """Tokens that an item of the memory takes."""
        return len(self.text(text)) + 1

    def instruction_length(self, instruction: str) -> int:
        return len(self.encode(instruction))

    def _listed(self, texts: Sequence[str]) -> list[int]:
        """As `answer` would write them, with the separator after each."""
        return [token for text in texts for token in (*self.text(text), self._separator)]

    def location_tokens(self, values: Float[np.ndarray, " k"]) -> list[int]:
        """Location words of values in [-1, 1]; values outside fall into the border bins."""
        bins = np.floor((np.asarray(values) + 1) * 0.5 * self.config.locations).astype(int)
        return (np.clip(bins, 0, self.config.locations - 1) + self.first_location).tolist()

    def answer(self, subtasks: Sequence[str]) -> list[int]:
        return self.text(SEPARATOR.join(subtasks))

    def subtasks(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """The inverse of `answer` for decoded tokens."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return tuple(part.strip() for part in text.split(SEPARATOR.strip()) if part.strip())

    def suffix(self) -> list[int]:
        """What follows the subtask text."""
        queries = range(self.first_query, self.first_query + self.config.queries)
        return [*self.newline, self.begin_queries, *queries]

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        """How many of the last tokens read to drop (none), and what to read after the subtask text that was said."""
        return 0, self.suffix()

    def sample(
        self,
        instruction: str,
        state: Float[np.ndarray, " S"],
        subtasks: Sequence[str] | None,
        *,
        memory: Sequence[str] = (),
        current_subtasks: Sequence[str] = (),
        has_history: bool = True,
    ) -> tuple[list[int], list[int]]:
        """A training sequence and its labels (what should follow each position); no labels without subtasks."""
        prompt = self.prompt(instruction, state, memory=memory, current_subtasks=current_subtasks)
        told = subtasks is not None and self.config.language
        answer = self.answer(subtasks) if subtasks is not None and told else []
        suffix = self.suffix()
        labels = [IGNORE_INDEX] * (len(prompt) + len(answer) + len(suffix))
        if told:
            labels[len(prompt) - 1 : len(prompt) + len(answer)] = [*answer, self.stop]
        return [*prompt, *answer, *suffix], labels

    def text(self, text: str) -> list[int]:
        """Tokens of a text that is likely to come again."""
        if text not in self._token_cache:
            self._token_cache[text] = self.encode(text)
        return self._token_cache[text]

    def _id(self, name: str) -> int:
        index = self.tokenizer.convert_tokens_to_ids(name)
        if index is None:
            raise ValueError(f"tokenizer: the word {name} is missing from its vocabulary")
        return index
