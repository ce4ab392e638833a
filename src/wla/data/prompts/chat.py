"""Token sequences of the published WLA-0: Qwen's chat template, images in the text, meta-queries after the answer.

system turn (optional) - user turn - assistant turn, which holds the subtasks in language mode - newline, begin marker,
meta-queries. Plain mode's user turn: images, then the instruction. Language mode's: `Instruction: ...`, images,
`Current subtask:`; an image of the past goes with `Previous subtask: ...`. The end marker and the turn's end, which
nothing can read any more, are left out.

The whole text is tokenised at once, as in training of the published checkpoints: a newline may join the full stop
before it to one token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.memory import MemoryConfig
from wla.types import IGNORE_INDEX, ImageKey

START, END, IMAGE = "<|im_start|>", "<|im_end|>", "<|image_pad|>"
VISION_START, VISION_END, PAD = "<|vision_start|>", "<|vision_end|>", "<|endoftext|>"
BEGIN_QUERIES, END_QUERIES = "<begin_of_img>", "<end_of_img>"
QWEN_SPECIAL_TOKENS = (PAD, START, END, IMAGE, VISION_START, VISION_END)
ANSWER = f"{START}assistant\n"
ENDINGS = (".", "!", "?", "。", "！", "？")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+")


def query_name(index: int) -> str:
    return f"<img{index}>"


class ChatPromptConfig(Config):
    """queries: number of meta-queries. language: whether subtasks are said before the queries.

    history: how many steps before now the images of the past were taken. system: text of the system turn (None: there
    is no such turn).
    """

    kind: Literal["chat"] = "chat"
    queries: int = 64
    language: bool = False
    history: int = 8
    system: str | None = ""
    instruction_tokens: int = 256
    """In training, longer instructions are cut; acting refuses them."""
    memory: MemoryConfig = MemoryConfig(tokens=1024, merge_counters=False)
    """How much of what was finished is told in language mode. The published system sets no limit."""

    def build(self, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]) -> ChatPrompter:
        return ChatPrompter(self, tokenizer, image_tokens)


class ChatPrompter:
    """Builds token sequences for one tokenizer and one list of images (image -> number of its tokens)."""

    def __init__(
        self, config: ChatPromptConfig, tokenizer: PreTrainedTokenizerFast, image_tokens: Mapping[str, int]
    ) -> None:
        """ValueError when the tokenizer lacks a word that the prompts need."""
        self.config = config
        self.tokenizer = tokenizer
        self.image_tokens = dict(image_tokens)
        self._past = {name for name in image_tokens if ImageKey.parse(name).time == "history"}
        self._with_first_frame = any(ImageKey.parse(name).time == "first" for name in image_tokens)
        words = (*QWEN_SPECIAL_TOKENS, BEGIN_QUERIES, END_QUERIES, *map(query_name, range(config.queries)))
        known = tokenizer.get_vocab()
        missing = [word for word in words if word not in known]
        if missing:
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            raise ValueError(
                f"tokenizer: lacks {', '.join(missing[:3])}{more}; use the tokenizer of a Qwen3-VL model, prepared by "
                "`wla import`"
            )
        self.pad, self.stop, self.begin = known[PAD], known[END], known[BEGIN_QUERIES]
        queries = [known[query_name(index)] for index in range(config.queries)]
        if queries != list(range(queries[0], queries[0] + config.queries)):
            raise ValueError("tokenizer: the meta-queries are not consecutive vocabulary entries")
        self.queries = [self.begin, *queries]
        special = (token.content for token in tokenizer.added_tokens_decoder.values() if token.special)
        self._special = re.compile("|".join(map(re.escape, special)))
        self._answer = self._encode(ANSWER)

    @property
    def history(self) -> int:
        """Steps between now and the images of the past."""
        return self.config.history

    @property
    def predicts_subtasks(self) -> bool:
        """Whether the model is asked for subtasks."""
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
        """Everything before the subtask text or, in plain mode, before the queries. The state is not told in words.

        memory: the subtasks that are finished. running: the window that was said last; its first one is told after them
        as the last of the previous subtasks, the others had not begun.

        past: whether the images of the past exist; when an episode begins they do
        not yet. Then they are left out where its first frame is in front, and repeat it elsewhere.
        """
        text = self._user(instruction, (*memory, *current_subtasks[:1]), has_history) + ANSWER
        return self._encode(text if self.config.language else text + "\n")

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
        if not self.config.language:
            tokens = [*self.prompt(instruction, state, has_history=has_history), *self.queries]
            return tokens, [IGNORE_INDEX] * len(tokens)
        before = self._user(instruction, (*memory, *current_subtasks[:1]), has_history) + ANSWER
        said = self._strip_special_tokens(join_sentences(subtasks or ()))
        tokens = [*self._encode(f"{before}{said}\n"), *self.queries]
        labels = [IGNORE_INDEX] * len(tokens)
        if said:
            start, end = len(self._encode(before)), len(self._encode(before + said))
            labels[start - 1 : end - 1] = tokens[start:end]
            labels[end - 1] = self.stop
        return tokens, labels

    def answer(self, subtasks: Sequence[str]) -> list[int]:
        """The tokens in which the model would say these subtasks."""
        text = self._strip_special_tokens(join_sentences(subtasks))
        return self._encode(ANSWER + text)[len(self._answer) :]

    def previous_frames(self, frame: int, start: int) -> tuple[int, int]:
        """First and last frame whose labelled subtasks are the previous ones of a training prompt, as in the published
        system: all before `frame` if the prompt shows the first frame of its episode, which is `start`, else those from
        the image of the past to `frame`."""
        return (start, frame - 1) if self._with_first_frame else (frame - self.history, frame)

    @property
    def memory(self) -> MemoryConfig | None:
        """How much of the past is told."""
        return self.config.memory if self.config.language else None

    def length(self, text: str) -> int:
        """Tokens that an item of the memory takes."""
        return len(self._encode(f" {join_sentences([text])}"))

    def instruction_length(self, instruction: str) -> int:
        return len(self._encode(self._strip_special_tokens(instruction)))

    def suffix_after(self, subtask_tokens: Sequence[int]) -> tuple[int, list[int]]:
        """How many of the last tokens read to drop, and what to read then, to end the sequence as `sample` does.

        said: the subtask tokens that were decoded, none in plain mode.
        """
        if not self.config.language:
            return 0, self.queries
        read = [*self._answer, *subtask_tokens]
        wanted = self._encode(f"{ANSWER}{self._decode(subtask_tokens)}\n")
        same = 0
        while same < min(len(read), len(wanted)) and read[same] == wanted[same]:
            same += 1
        return len(read) - same, [*wanted[same:], *self.queries]

    def subtasks(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """The subtasks that decoded tokens say."""
        text = self._decode(tokens)
        return tuple(part for part in _SENTENCE_END.split(text) if part)

    def _user(self, instruction: str, previous: Sequence[str], has_history: bool) -> str:
        system = "" if self.config.system is None else f"{START}system\n{self.config.system}{END}\n"
        instruction = self._strip_special_tokens(instruction)
        tokens = self.tokenizer.encode(instruction, add_special_tokens=False)
        if len(tokens) > self.config.instruction_tokens:
            instruction = self.tokenizer.decode(tokens[: self.config.instruction_tokens])
        content = "".join(self._images(has_history).values()) + instruction
        if self.config.language:
            content = self._language(instruction, previous, has_history)
        return f"{system}{START}user\n{content}{END}\n"

    def _language(self, instruction: str, previous: Sequence[str], has_history: bool) -> str:
        images = self._images(has_history)
        told = self._strip_special_tokens(join_sentences(previous)) if has_history else ""
        parts = []
        for name, image in images.items():
            if name in self._past and told:
                # With an episode's first frame in front, the words stand before the image, else after it.
                words = f"Previous subtask: {told}"
                parts.append(words + image if self._with_first_frame else image + words)
            else:
                parts.append(image)
        return f"Instruction: {instruction}{''.join(parts)}Current subtask:"

    def _images(self, has_history: bool) -> dict[str, str]:
        has_history = has_history or not self._with_first_frame
        return {
            name: f"{VISION_START}{IMAGE * count}{VISION_END}"
            for name, count in self.image_tokens.items()
            if has_history or name not in self._past
        }

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def _decode(self, tokens: Sequence[int]) -> str:
        return self._strip_special_tokens(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def _strip_special_tokens(self, text: str) -> str:
        """A text without the chat's own words, with which it could end turns or ask for images."""
        return self._special.sub(" ", text)


def join_sentences(subtasks: Sequence[str]) -> str:
    """Subtasks as sentences, each with its full stop, direct repetitions once."""
    sentences: list[str] = []
    for text in subtasks:
        sentence = text.strip()
        if sentence and not sentence.endswith(ENDINGS):
            sentence += "."
        if sentence and sentences[-1:] != [sentence]:
            sentences.append(sentence)
    return " ".join(sentences)


def add_queries(tokenizer: PreTrainedTokenizerFast, *, first: int, queries: int) -> None:
    """Give a Qwen tokenizer the markers and meta-queries, from vocabulary entry `first` on.

    The entries between its own and these, which the model's embedding has rows for, get names too. ValueError when the
    tokenizer lacks Qwen's special words or already has more entries.
    """
    known = tokenizer.get_vocab()
    missing = [word for word in QWEN_SPECIAL_TOKENS if word not in known]
    if missing:
        raise ValueError(f"tokenizer: lacks {', '.join(missing)}; give the tokenizer of a Qwen3-VL model")
    names = [BEGIN_QUERIES, END_QUERIES, *map(query_name, range(queries))]
    if BEGIN_QUERIES not in known:
        if len(tokenizer) > first:
            raise ValueError(
                f"tokenizer: has {len(tokenizer)} words, the model's begin marker is word {first}; give the tokenizer "
                "that belongs to the model"
            )
        tokenizer.add_tokens([f"<pad_token_{i}>" for i in range(first - len(tokenizer))], special_tokens=True)
        tokenizer.add_tokens(names, special_tokens=True)
    found = tokenizer.convert_tokens_to_ids(names)
    if found != list(range(first, first + len(names))):
        raise ValueError(
            f"tokenizer: {BEGIN_QUERIES} is word {found[0]}, the model's is {first}; give the tokenizer that belongs "
            "to the model"
        )
