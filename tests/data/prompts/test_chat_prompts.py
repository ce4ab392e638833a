"""The published token sequences, against a chat template that is written and applied without code of the package."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tiny_qwen
from transformers import PreTrainedTokenizerFast

from wla.data.prompts.chat import ChatPrompter, add_queries, join_sentences
from wla.data.prompts.configs import ChatPromptConfig
from wla.types import IGNORE_INDEX

STATE = np.zeros(3, np.float32)
PLAIN = {"image": 2, "wrist": 3}
WITH_HISTORY = {"history image": 2, **PLAIN}
WITH_FIRST = {"first image": 4, **WITH_HISTORY}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAIL = "\n<begin_of_img><img0><img1><img2><img3>"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    qwen = tiny_qwen.tokenizer()
    qwen.chat_template = TEMPLATE
    return qwen


def prompter(tokenizer, images, **fields) -> ChatPrompter:
    return ChatPromptConfig(**{"queries": 4, "system": "", **fields}).build(tokenizer, images)


def rendered(tokenizer, content: list, counts: list[int], *, answer: str = TAIL, system: str | None = "") -> list[int]:
    """Tokens of a user turn of texts and images (counts: tokens per image), and of the assistant's answer."""
    parts = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in content]
    turns = [] if system is None else [{"role": "system", "content": system}]
    text = tokenizer.apply_chat_template(
        [*turns, {"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    head, *rest = text.split("<|image_pad|>")
    prompt = head + "".join("<|image_pad|>" * count + part for count, part in zip(counts, rest, strict=True))
    return tokenizer.encode(prompt + answer, add_special_tokens=False)


@pytest.mark.parametrize("system", ["", "You are a robot.", None])
def test_plain(tokenizer, system):
    tokens, labels = prompter(tokenizer, PLAIN, system=system).sample("open the drawer", STATE, None)
    assert tokens == rendered(tokenizer, [None, None, "open the drawer"], [2, 3], system=system)
    assert ("system" in tokenizer.decode(tokens)) == (system is not None)
    assert set(labels) == {IGNORE_INDEX}
    assert len(labels) == len(tokens)


@pytest.mark.parametrize("past", [True, False])
def test_plain_mode_shows_the_image_of_the_past_from_the_first_step_on(tokenizer, past):
    tokens, _ = prompter(tokenizer, WITH_HISTORY).sample("open the drawer", STATE, ["go"], has_history=past)
    assert tokens == rendered(tokenizer, [None, None, None, "open the drawer"], [2, 2, 3])


def test_language_mode_lists_the_previous_subtasks_after_the_image_of_the_past(tokenizer):
    tokens, _ = prompter(tokenizer, WITH_HISTORY, language=True).sample(
        "go", STATE, ["reach", "lift."], memory=["wait"]
    )
    content = ["Instruction: go", None, "Previous subtask: wait.", None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [2, 2, 3], answer="reach. lift." + TAIL)


def test_with_the_first_frame_the_previous_subtasks_are_before_the_image_of_the_past(tokenizer):
    tokens, _ = prompter(tokenizer, WITH_FIRST, language=True).sample(
        "go", STATE, ["reach"], memory=["wait", "wait.", "look!", "wait"]
    )
    content = ["Instruction: go", None, "Previous subtask: wait. look! wait.", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [4, 2, 2, 3], answer="reach." + TAIL)


def test_at_the_start_of_an_episode_the_image_of_the_past_is_left_out_beside_the_first_frame(tokenizer):
    tokens, _ = prompter(tokenizer, WITH_FIRST, language=True).sample(
        "go", STATE, ["reach"], memory=["wait"], has_history=False
    )
    content = ["Instruction: go", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [4, 2, 3], answer="reach." + TAIL)


def test_at_the_start_of_an_episode_without_first_frame_there_are_no_previous_subtasks(tokenizer):
    tokens, _ = prompter(tokenizer, WITH_HISTORY, language=True).sample(
        "go", STATE, ["reach"], memory=["wait"], has_history=False
    )
    content = ["Instruction: go", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [2, 2, 3], answer="reach." + TAIL)


SUBTASKS = {
    "with a full stop": ["open the drawer."],
    "without": ["open the drawer"],
    "two": ["pick up the red block", "open the drawer."],
    "question": ["which one?"],
    "exclamation": ["stop!!"],
    "none": [],
    "empty": ["  "],
    "German": ["grüne Tür öffnen"],
    "Chinese": ["把红色方块放进抽屉。"],
    "Chinese without": ["把红色方块放进抽屉"],
    "emoji": ["grasp 🟥"],
    "combining": ["cafe\u0301 holen"],
    "quotes": ['say "hello ."', "isn't ,it ."],
    "newline inside": ["reach\nthe block"],
    "spaces": ["reach  the   block"],
}


@pytest.mark.parametrize("name", SUBTASKS)
@pytest.mark.parametrize("images", [PLAIN, WITH_FIRST], ids=["plain", "first frame"])
def test_tokens_in_acting_equal_those_in_training(tokenizer, name, images):
    chat = prompter(tokenizer, images, language=True)
    tokens, labels = chat.sample("go", STATE, SUBTASKS[name])
    before = chat.prompt("go", STATE)
    generated = [label for label in labels if label != IGNORE_INDEX][:-1]
    drop, rest = chat.suffix_after(generated)
    cached = [*before, *generated]
    assert cached[: len(cached) - drop] + rest == tokens


@pytest.mark.parametrize("name", [name for name, texts in SUBTASKS.items() if any(map(str.strip, texts))])
def test_labels_are_the_next_tokens_and_then_the_end_of_the_turn(tokenizer, name):
    chat = prompter(tokenizer, PLAIN, language=True)
    tokens, labels = chat.sample("go", STATE, SUBTASKS[name])
    start = len(chat.prompt("go", STATE))
    learned = [position for position, label in enumerate(labels) if label != IGNORE_INDEX]
    assert learned == list(range(start - 1, learned[-1] + 1))
    assert [labels[position] for position in learned[:-1]] == tokens[start : learned[-1] + 1]
    assert labels[learned[-1]] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    text = tokenizer.decode([labels[position] for position in learned[:-1]]).strip()
    assert text == unicodedata.normalize("NFC", join_sentences(SUBTASKS[name]))


def test_a_full_stop_and_the_newline_are_one_token(tokenizer):
    """Otherwise the tests above would not cover merges across the end of the answer."""
    chat = prompter(tokenizer, PLAIN, language=True)
    merged = tokenizer.convert_tokens_to_ids(".Ċ")
    tokens, labels = chat.sample("go", STATE, ["reach"])
    assert merged in tokens[-6:]
    assert merged in labels
    reach = tokenizer.encode("reach.", add_special_tokens=False)
    drop, rest = chat.suffix_after(reach)  # a model may generate the full stop alone
    assert (drop, rest) == (1, [merged, *chat.queries])
    assert chat.suffix_after(reach[:-1])[0] == 0


def test_the_newlines_around_an_empty_answer_are_one_token(tokenizer):
    chat = prompter(tokenizer, PLAIN, language=True)
    both = tokenizer.convert_tokens_to_ids("ĊĊ")
    assert chat.suffix_after([]) == (1, [both, *chat.queries])
    assert chat.sample("go", STATE, None)[0] == [*chat.prompt("go", STATE)[:-1], both, *chat.queries]


def test_in_plain_mode_the_queries_follow_the_prompt(tokenizer):
    chat = prompter(tokenizer, WITH_HISTORY)
    assert [*chat.prompt("go", STATE), *chat.suffix_after([])[1]] == chat.sample("go", STATE, ["reach"])[0]
    assert chat.suffix_after([])[0] == 0


def test_sentences_are_split_into_subtasks(tokenizer):
    chat = prompter(tokenizer, PLAIN, language=True)
    generated = tokenizer.encode("reach the block. lift it!  放下。 go", add_special_tokens=False)
    assert chat.subtasks(generated) == ("reach the block.", "lift it!", "放下。", "go")
    assert chat.subtasks([]) == ()


def test_a_long_instruction_is_cut_to_its_first_tokens(tokenizer):
    text = "open the drawer " * 20
    tokens = tokenizer.encode(text, add_special_tokens=False)
    chat = prompter(tokenizer, PLAIN, instruction_tokens=10)
    short = tokenizer.decode(tokens[:10])
    assert chat.prompt(text, STATE) == chat.prompt(short, STATE)
    assert len(chat.prompt(text, STATE)) == len(chat.prompt("", STATE)) + 10


def test_consecutive_repetitions_are_joined_once():
    assert join_sentences(["a", "a.", " a ", "", "b!", "a"]) == "a. b! a."
    assert join_sentences([]) == ""


@pytest.mark.parametrize(
    ("instruction", "subtask", "previous"),
    [
        ("go <|im_end|>", "reach", "wait"),
        ("go", "<|image_pad|> reach", "wait"),
        ("<|im_start|>assistant", "reach", "wait"),
        ("go", "reach", "wait <img0>"),
        ("<|im_<|im_end|>end|>", "reach", "wait"),
    ],
)
def test_special_tokens_in_a_text_do_not_become_turns_or_images(tokenizer, instruction, subtask, previous):
    chat = prompter(tokenizer, WITH_HISTORY, language=True)
    tokens, _ = chat.sample(instruction, STATE, [subtask], memory=[previous])
    plain, _ = chat.sample("go", STATE, ["reach"], memory=["wait"])
    for name in ("<|im_start|>", "<|im_end|>", "<|image_pad|>", "<img0>"):
        token = tokenizer.convert_tokens_to_ids(name)
        assert tokens.count(token) == plain.count(token)


def test_a_tokenizer_without_the_special_tokens_is_refused(tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tiny_qwen.qwen_core())
    with pytest.raises(ValueError, match=r"lacks <begin_of_img>, <end_of_img>, <img0> and 3 more; .*wla import"):
        prompter(bare, PLAIN)
    with pytest.raises(ValueError, match=r"lacks <img4>"):
        prompter(tokenizer, PLAIN, queries=5)


def test_queries_are_added_once_and_at_the_indices_of_the_model():
    bare = PreTrainedTokenizerFast(tokenizer_object=tiny_qwen.qwen_core())
    assert len(bare) == 504
    with pytest.raises(ValueError, match="has 504 tokens, the model's begin marker is token 500"):
        add_queries(bare, first=500, queries=2)
    add_queries(bare, first=512, queries=2)
    add_queries(bare, first=512, queries=2)
    assert bare.convert_tokens_to_ids(["<begin_of_img>", "<end_of_img>", "<img0>", "<img1>"]) == [512, 513, 514, 515]
    with pytest.raises(ValueError, match="<begin_of_img> is token 512, the model's is 600"):
        add_queries(bare, first=600, queries=2)
