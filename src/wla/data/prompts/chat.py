"""Token sequences of the published WLA-0: Qwen's chat template, images in the text, meta-queries after the answer.

system turn (optional) - user turn - assistant turn, which holds the subtasks in language mode - newline, begin marker,
meta-queries. User turn in plain mode: images, then the instruction. In language mode: `Instruction: ...`, images,
`Current subtask:`; an image of the past comes with `Previous subtask: ...`. The end marker and the end of the turn are
left out, since no token attends to them.

The text between two special tokens is tokenised at once, as when the published checkpoints were trained: a newline and
the full stop before it may be one token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, groupby

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedTokenizerFast

from wla.data.memory import MemoryConfig
from wla.data.prompts.configs import ChatPromptConfig
from wla.data.prompts.tokenizer import append_tokens, consecutive, encode_text, mark_special, token_ids
from wla.types import IGNORE_INDEX, ImageKey

START, END, IMAGE = "<|im_start|>", "<|im_end|>", "<|image_pad|>"
VISION_START, VISION_END, PAD = "<|vision_start|>", "<|vision_end|>", "<|endoftext|>"
BEGIN_QUERIES, END_QUERIES = "<begin_of_img>", "<end_of_img>"
QWEN_SPECIAL_TOKENS = (PAD, START, END, IMAGE, VISION_START, VISION_END)
Part = str | int
"""A piece of a prompt: text, or the id of a special token. What is in a text never becomes a special token."""
ENDINGS = (".", "!", "?", "。", "！", "？")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")


def query_name(index: int) -> str:
    return f"<img{index}>"


class ChatPrompter:
    """Builds token sequences for one tokenizer and one list of images (image -> number of its tokens)."""

    def __init__(
        self, config: ChatPromptConfig, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]
    ) -> None:
        """ValueError when the tokenizer lacks a token of the prompts."""
        self.config = config
        self.tokenizer = tokenizer
        self.image_tokens = dict(image_tokens)
        self._past = {name for name in image_tokens if ImageKey.parse(name).past}
        self._with_first_frame = any(ImageKey.parse(name).time == "first" for name in image_tokens)
        query_names = list(map(query_name, range(config.queries)))
        names = (*QWEN_SPECIAL_TOKENS, BEGIN_QUERIES, END_QUERIES, *query_names)
        ids = token_ids(tokenizer, names, "use the tokenizer of a Qwen3-VL model, prepared by `wla import`")
        mark_special(tokenizer, names)
        self.pad, self.image = ids[PAD], ids[IMAGE]
        self.begin_queries, self.end_queries = ids[BEGIN_QUERIES], ids[END_QUERIES]
        self.start, self.stop = ids[START], ids[END]
        self.vision_start, self.vision_end = ids[VISION_START], ids[VISION_END]
        self.first_query = consecutive(ids, query_names)[0]
        self.queries = [self.begin_queries, *consecutive(ids, query_names)]
        self._answer = self._encode(self._answered(""))

    @property
    def history(self) -> int:
        """Control steps between now and the images of the past."""
        return self.config.history

    @property
    def predicts_subtasks(self) -> bool:
        """Whether the model generates subtasks."""
        return self.config.language

    def prompt(
        self,
        instruction: str,
        state: Float[np.ndarray, " S"],
        *,
        memory: Sequence[str] = (),
        current_subtasks: Sequence[str] = (),
        has_history: bool = True,
    ) -> list[int]:
        """All tokens before the subtask text or, in plain mode, before the queries. They do not contain the state.

        memory: the finished subtasks. current_subtasks: those predicted last, of which the first is the last of the
        previous subtasks; the others had not begun. has_history: whether the images of the past exist, which they do
        not when an episode begins. They are then left out if the prompt shows the first frame, else they repeat it.
        """
        user = self._user(instruction, (*memory, *current_subtasks[:1]), has_history)
        return self._encode([*user, *self._answered("" if self.config.language else "\n")])

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
        if not self.config.language:
            tokens = [*self.prompt(instruction, state, has_history=has_history), *self.queries]
            return tokens, [IGNORE_INDEX] * len(tokens)
        user = self._user(instruction, (*memory, *current_subtasks[:1]), has_history)
        answer = join_sentences(subtasks or ())
        tokens = [*self._encode([*user, *self._answered(f"{answer}\n")]), *self.queries]
        labels = [IGNORE_INDEX] * len(tokens)
        if answer:
            start, end = (len(self._encode([*user, *self._answered(text)])) for text in ("", answer))
            labels[start - 1 : end - 1] = tokens[start:end]
            labels[end - 1] = self.stop
        return tokens, labels

    def answer(self, subtasks: Sequence[str]) -> list[int]:
        """Tokens of these subtasks, as the model would generate them."""
        return self._encode(self._answered(join_sentences(subtasks)))[len(self._answer) :]

    def previous_frames(self, frame: int, start: int) -> tuple[int, int]:
        """First and last frame whose labelled subtasks are the previous ones of a training prompt, as in the published
        system: all before `frame` if the prompt shows the first frame of its episode, which is `start`, else those from
        the image of the past to `frame`."""
        return (start, frame - 1) if self._with_first_frame else (frame - self.history, frame)

    @property
    def memory(self) -> MemoryConfig | None:
        """Limits of the previous subtasks in the prompt; None in plain mode, whose prompts have none."""
        return self.config.memory if self.config.language else None

    def length(self, text: str) -> int:
        """Number of tokens of an item of the memory."""
        return len(self._encode([f" {join_sentences([text])}"]))

    def instruction_length(self, instruction: str) -> int:
        return len(self._encode([instruction]))

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        """Number of cached tokens to drop from the end, and the tokens to append, so that the sequence ends as in
        `sample`.

        subtask_tokens: the generated ones, none in plain mode.
        """
        if not self.config.language:
            return 0, self.queries
        cached = [*self._answer, *subtask_tokens]
        target = self._encode(self._answered(f"{self._decode(subtask_tokens)}\n"))
        same = 0
        while same < min(len(cached), len(target)) and cached[same] == target[same]:
            same += 1
        return len(cached) - same, [*target[same:], *self.queries]

    def subtasks(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """Subtasks of generated tokens."""
        text = self._decode(tokens)
        return tuple(part for part in _SENTENCE_END.split(text) if part)

    def _user(self, instruction: str, previous: Sequence[str], has_history: bool) -> list[Part]:
        system: list[Part] = []
        if self.config.system is not None:
            system = [self.start, f"system\n{self.config.system}", self.stop, "\n"]
        tokens = self._encode([instruction])
        if len(tokens) > self.config.instruction_tokens:
            instruction = self._text(tokens[: self.config.instruction_tokens])
        if self.config.language:
            content = self._language(instruction, previous, has_history)
        else:
            content = [*chain.from_iterable(self._images(has_history).values()), instruction]
        return [*system, self.start, "user\n", *content, self.stop, "\n"]

    def _answered(self, text: str) -> list[Part]:
        """The assistant's turn up to the end of `text`."""
        return [self.start, f"assistant\n{text}"]

    def _language(self, instruction: str, previous: Sequence[str], has_history: bool) -> list[Part]:
        previous_text = join_sentences(previous) if has_history else ""
        parts: list[Part] = [f"Instruction: {instruction}"]
        for name, image in self._images(has_history).items():
            if name in self._past and previous_text:
                # The text stands before the image if the first frame of the episode is in the prompt, else after it.
                text = f"Previous subtask: {previous_text}"
                parts += [text, *image] if self._with_first_frame else [*image, text]
            else:
                parts += image
        return [*parts, "Current subtask:"]

    def _images(self, has_history: bool) -> dict[str, list[Part]]:
        has_history = has_history or not self._with_first_frame
        return {
            name: [self.vision_start, *[self.image] * count, self.vision_end]
            for name, count in self.image_tokens.items()
            if has_history or name not in self._past
        }

    def _encode(self, parts: Sequence[Part]) -> list[int]:
        """Tokens of special tokens and of the texts between them, each of which is tokenised at once."""
        tokens: list[int] = []
        for kind, group in groupby(parts, type):
            run = list(group)
            tokens += encode_text(self.tokenizer, "".join(map(str, run))) if kind is str else map(int, run)
        return tokens

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._text(tokens).strip()

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens), skip_special_tokens=True)


def join_sentences(subtasks: Sequence[str]) -> str:
    """Subtasks as sentences with full stops, consecutive repetitions once."""
    sentences: list[str] = []
    for text in subtasks:
        sentence = text.strip()
        if sentence and not sentence.endswith(ENDINGS):
            sentence += "."
        if sentence and sentences[-1:] != [sentence]:
            sentences.append(sentence)
    return " ".join(sentences)


def add_queries(tokenizer: PreTrainedTokenizerFast, *, first: int, queries: int) -> None:
    """Adds the markers and meta-queries to a Qwen tokenizer, from vocabulary entry `first` on.

    The unused entries before them, for which the model's embedding has rows, get names too. ValueError when the
    tokenizer lacks Qwen's special tokens or already has more entries.
    """
    known = tokenizer.get_vocab()
    missing = [token for token in QWEN_SPECIAL_TOKENS if token not in known]
    if missing:
        raise ValueError(f"tokenizer: lacks {', '.join(missing)}; give the tokenizer of a Qwen3-VL model")
    names = [BEGIN_QUERIES, END_QUERIES, *map(query_name, range(queries))]
    append_tokens(tokenizer, names, first=first, filler="pad_token", what="begin marker")
