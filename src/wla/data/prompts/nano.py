"""Token sequences of the nano models, in training and in acting.

user turn: instruction, image placeholders (consecutive per camera), the state as location tokens, with memory also the
finished subtasks and those predicted last - assistant turn: the subtask text - newline, begin marker, meta-queries.
The end marker and the end of the turn are left out, since no token attends to them. `wla.data.prompts.chat` holds the
published layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedTokenizerFast

from wla.data.memory import MemoryConfig
from wla.data.prompts.configs import PromptConfig
from wla.data.prompts.special_tokens import BEGIN_QUERIES, END_QUERIES, location_name, query_name, special_tokens
from wla.data.prompts.tokenizer import consecutive, encode_text, mark_special, token_ids
from wla.types import IGNORE_INDEX

SEPARATOR = "; "
FINISHED_PREFIX, CURRENT_PREFIX = "done:", "now:"


class Prompter:
    """Builds token sequences for one tokenizer and one set of cameras; caches the tokens of texts."""

    def __init__(
        self, config: PromptConfig, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        names = special_tokens(config.queries, config.locations)
        ids = token_ids(tokenizer, [*names, SEPARATOR.strip()], "use the tokenizer of this model")
        mark_special(tokenizer, names)
        self.pad, self.start, self.stop, self.image = (ids[name] for name in names[:4])
        self.begin_queries, self.end_queries = ids[BEGIN_QUERIES], ids[END_QUERIES]
        self.first_query = consecutive(ids, map(query_name, range(config.queries)))[0]
        self.first_location = consecutive(ids, map(location_name, range(config.locations)))[0]
        self.images = [self.image] * sum(image_tokens.values())
        self.newline = self.encode("\n")
        self._separator = ids[SEPARATOR.strip()]
        self._token_cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, never a special one."""
        return encode_text(self.tokenizer, text)

    def require_image_token(self, index: int) -> None:
        """ValueError when the model has the image token under another index: it would read no images."""
        if index != self.image:
            raise ValueError(f"the image token is {index} for the model and {self.image} in its prompts")

    @property
    def history(self) -> int:
        """Control steps between now and the images of the past."""
        return self.config.history

    @property
    def predicts_subtasks(self) -> bool:
        """Whether the model generates subtasks."""
        return self.config.language

    def previous_frames(self, frame: int, start: int) -> None:
        """None: a training prompt holds what a policy would have predicted when it last acted, not the labels of all
        previous frames."""

    @property
    def memory(self) -> MemoryConfig | None:
        """Limits of the memory in the prompt; None: the prompt has no memory."""
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
        """All tokens before the subtask text or, without language, before the queries.

        state: normalised to [-1, 1]. memory: the finished subtasks. current_subtasks: those predicted last.
        has_history: not used in this layout.
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
        """Number of tokens of an item of the memory."""
        return len(self.text(text)) + 1

    def instruction_length(self, instruction: str) -> int:
        return len(self.encode(instruction))

    def _listed(self, texts: Sequence[str]) -> list[int]:
        """Tokens of texts as in `answer`, but with the separator after each."""
        return [token for text in texts for token in (*self.text(text), self._separator)]

    def location_tokens(self, values: Float[np.ndarray, " k"]) -> list[int]:
        """Location tokens of values in [-1, 1]; values outside are in the first or last bin."""
        bins = np.floor((np.asarray(values) + 1) * 0.5 * self.config.locations).astype(int)
        return (np.clip(bins, 0, self.config.locations - 1) + self.first_location).tolist()

    def answer(self, subtasks: Sequence[str]) -> list[int]:
        """Tokens of these subtasks, as the model would generate them."""
        return self.text(SEPARATOR.join(subtasks))

    def subtasks(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """Subtasks of generated tokens, the inverse of `answer`."""
        text = self.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        return tuple(part.strip() for part in text.split(SEPARATOR.strip()) if part.strip())

    def suffix(self) -> list[int]:
        """Tokens after the subtask text."""
        queries = range(self.first_query, self.first_query + self.config.queries)
        return [*self.newline, self.begin_queries, *queries]

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        """Number of cached tokens to drop from the end (none), and the tokens after the generated subtask text."""
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
        """A training sequence and its labels, the token that should follow each position; IGNORE_INDEX everywhere
        without subtasks."""
        prompt = self.prompt(instruction, state, memory=memory, current_subtasks=current_subtasks)
        learned = subtasks if self.config.language else None
        answer = [] if learned is None else self.answer(learned)
        suffix = self.suffix()
        labels = [IGNORE_INDEX] * (len(prompt) + len(answer) + len(suffix))
        if learned is not None:
            labels[len(prompt) - 1 : len(prompt) + len(answer)] = [*answer, self.stop]
        return [*prompt, *answer, *suffix], labels

    def text(self, text: str) -> list[int]:
        """Tokens of a text, cached, since most texts repeat."""
        if text not in self._token_cache:
            self._token_cache[text] = self.encode(text)
        return self._token_cache[text]
