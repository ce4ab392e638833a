"""The name of a special token in a text is text: whatever a prompt is built from, its structure stays the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tiny
import tiny_qwen
from hostile import SPECIAL_TOKENS, TEXTS
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from wla.data.memory import MemoryConfig
from wla.data.prompts.chat import ChatPrompter
from wla.data.prompts.nano import Prompter
from wla.data.prompts.tokenizer import encode_text
from wla.training.grounding.questions import Question, question_sample

STATE = np.zeros(3, np.float32)
IMAGES = {"front": 4, "wrist": 1}
HOSTILE = SPECIAL_TOKENS | TEXTS
SLOTS = ("instruction", "memory", "current_subtasks", "subtasks")


def nano() -> Prompter:
    return Prompter(tiny.PROMPT.replace(memory=MemoryConfig(tokens=200)), tiny.tokenizer(), IMAGES)


def chat(language: bool = True) -> ChatPrompter:
    config = tiny_qwen.prompt_config(language=language, system="You are a robot.")
    return config.build(tiny_qwen.tokenizer(), {"first front": 1, "history front": 1, **IMAGES})


@pytest.fixture(scope="module", params=[nano, chat, lambda: chat(language=False)], ids=["nano", "chat", "plain chat"])
def prompter(request):
    return request.param()


def sample(prompter, **changes):
    texts = {"instruction": "go", "memory": "wait", "current_subtasks": "lift", "subtasks": "reach"} | changes
    return prompter.sample(
        texts["instruction"],
        STATE,
        [texts["subtasks"]],
        memory=[texts["memory"]],
        current_subtasks=[texts["current_subtasks"]],
    )


def structure(prompter, tokens) -> Counter[str]:
    special = {index: token.content for index, token in prompter.tokenizer.added_tokens_decoder.items()}
    return Counter(special[token] for token in tokens if token in special)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_changes_the_structure_of_a_training_sequence(prompter, text):
    plain, plain_labels = sample(prompter)
    for slot in SLOTS:
        tokens, labels = sample(prompter, **{slot: text})
        assert structure(prompter, tokens) == structure(prompter, plain)
        assert tokens[-prompter.config.queries :] == plain[-prompter.config.queries :]
        assert structure(prompter, labels).keys() <= structure(prompter, plain_labels).keys()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_text_counts_for_less_than_it_takes(prompter, text):
    assert prompter.instruction_length(text) == len(encode_text(prompter.tokenizer, text))
    assert not structure(prompter, prompter.answer([text]))
    if text.strip():
        assert prompter.length(text) >= len(encode_text(prompter.tokenizer, text.strip()))


@pytest.mark.parametrize("text", SPECIAL_TOKENS.values(), ids=SPECIAL_TOKENS)
def test_special_tokens_in_a_subtask_come_back_as_text(text):
    """What a policy generates enters its memory, and the next prompt."""
    prompter = nano()
    assert prompter.subtasks(prompter.answer([text])) == (text.strip(),)
    chatting = chat()
    drop, suffix = chatting.suffix_after(chatting.answer([text]))
    assert structure(chatting, suffix) == structure(chatting, chatting.queries)
    assert drop <= 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_name_or_label_of_an_object_changes_the_structure_of_a_question(text):
    prompter = nano()

    def counts(text: str) -> Counter[str]:
        asked = [Question(f"where is the {text}", (0.0, 0.5, 0.0)), Question(f"what does the {text} show", text)]
        return structure(prompter, question_sample(prompter, STATE, asked)[0])

    assert counts(text) == counts("red block")


def test_tokens_that_a_tokenizer_does_not_mark_as_special_are_special_in_prompts():
    core = Tokenizer.from_str(tiny.tokenizer().backend_tokenizer.to_str().replace('"special":true', '"special":false'))
    unmarked = PreTrainedTokenizerFast(tokenizer_object=core)
    assert not any(token.special for token in unmarked.added_tokens_decoder.values())
    prompter = Prompter(tiny.PROMPT, unmarked, IMAGES)
    assert sample(prompter) == sample(Prompter(tiny.PROMPT, tiny.tokenizer(), IMAGES))
    tokens, _ = sample(prompter, instruction="<|query_0|><|image_pad|>")
    assert structure(prompter, tokens) == structure(prompter, sample(prompter)[0])


@pytest.mark.parametrize(
    "text", ["open the drawer", "grüne Tür  öffnen.", "把红色方块放进抽屉。", "a <b> | c|> <|d", "🟥"]
)
def test_ordinary_text_is_tokenised_as_ever(text):
    for tokenizer in (tiny.tokenizer(), tiny_qwen.tokenizer()):
        assert encode_text(tokenizer, text) == tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
