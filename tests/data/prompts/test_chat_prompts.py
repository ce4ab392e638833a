"""The published token sequences, against a chat template that is written and applied without our own code."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import tiny_qwen
from transformers import PreTrainedTokenizerFast

from wla.data.prompts.chat import ChatPromptConfig, ChatPrompter, add_queries, join_sentences
from wla.types import IGNORE_INDEX

STATE = np.zeros(3, np.float32)
PLAIN = {"image": 2, "wrist": 3}
PAST = {"history image": 2, **PLAIN}
BEGUN = {"first image": 4, **PAST}
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
    whole = tiny_qwen.tokenizer()
    whole.chat_template = TEMPLATE
    return whole


def prompter(tokenizer, images, **fields) -> ChatPrompter:
    return ChatPromptConfig(**{"queries": 4, "system": "", **fields}).build(tokenizer, images)


def rendered(tokenizer, content: list, counts: list[int], *, answer: str = TAIL, system: str | None = "") -> list[int]:
    """Tokens of a user turn of texts and images (counts: tokens of each) and what follows the assistant's name."""
    parts = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in content]
    turns = [] if system is None else [{"role": "system", "content": system}]
    text = tokenizer.apply_chat_template(
        [*turns, {"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True
    )
    head, *rest = text.split("<|image_pad|>")
    whole = head + "".join("<|image_pad|>" * count + piece for count, piece in zip(counts, rest, strict=True))
    return tokenizer.encode(whole + answer, add_special_tokens=False)


@pytest.mark.parametrize("system", ["", "You are a robot.", None])
def test_plain(tokenizer, system):
    tokens, labels = prompter(tokenizer, PLAIN, system=system).sample("open the drawer", STATE, None)
    assert tokens == rendered(tokenizer, [None, None, "open the drawer"], [2, 3], system=system)
    assert ("system" in tokenizer.decode(tokens)) == (system is not None)
    assert set(labels) == {IGNORE_INDEX}
    assert len(labels) == len(tokens)


@pytest.mark.parametrize("past", [True, False])
def test_plain_with_an_image_of_the_past_has_it_from_the_first_step_on(tokenizer, past):
    tokens, _ = prompter(tokenizer, PAST).sample("open the drawer", STATE, ["go"], has_history=past)
    assert tokens == rendered(tokenizer, [None, None, None, "open the drawer"], [2, 2, 3])


def test_language_with_an_image_of_the_past_tells_the_previous_subtasks_after_it(tokenizer):
    tokens, _ = prompter(tokenizer, PAST, language=True).sample("go", STATE, ["reach", "lift."], memory=["wait"])
    content = ["Instruction: go", None, "Previous subtask: wait.", None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [2, 2, 3], answer="reach. lift." + TAIL)


def test_language_with_the_first_frame_tells_the_previous_subtasks_before_the_image_of_the_past(tokenizer):
    tokens, _ = prompter(tokenizer, BEGUN, language=True).sample(
        "go", STATE, ["reach"], memory=["wait", "wait.", "look!", "wait"]
    )
    content = ["Instruction: go", None, "Previous subtask: wait. look! wait.", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [4, 2, 2, 3], answer="reach." + TAIL)


def test_when_an_episode_begins_its_first_frame_stands_alone(tokenizer):
    tokens, _ = prompter(tokenizer, BEGUN, language=True).sample(
        "go", STATE, ["reach"], memory=["wait"], has_history=False
    )
    content = ["Instruction: go", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [4, 2, 3], answer="reach." + TAIL)


def test_without_a_first_frame_the_image_of_the_past_stays_and_nothing_is_told_yet(tokenizer):
    tokens, _ = prompter(tokenizer, PAST, language=True).sample(
        "go", STATE, ["reach"], memory=["wait"], has_history=False
    )
    content = ["Instruction: go", None, None, None, "Current subtask:"]
    assert tokens == rendered(tokenizer, content, [2, 2, 3], answer="reach." + TAIL)


SAID = {
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


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("images", [PLAIN, BEGUN], ids=["plain", "first frame"])
def test_what_is_read_in_acting_equals_what_is_read_in_training(tokenizer, name, images):
    chat = prompter(tokenizer, images, language=True)
    tokens, labels = chat.sample("go", STATE, SAID[name])
    before = chat.prompt("go", STATE)
    asked = [(position, label) for position, label in enumerate(labels) if label != IGNORE_INDEX]
    said = [label for _, label in asked[:-1]]
    drop, rest = chat.suffix_after(said)
    read = [*before, *said]
    assert read[: len(read) - drop] + rest == tokens


@pytest.mark.parametrize("name", [name for name, texts in SAID.items() if any(map(str.strip, texts))])
def test_labels_are_the_next_tokens_and_then_the_end_of_the_turn(tokenizer, name):
    chat = prompter(tokenizer, PLAIN, language=True)
    tokens, labels = chat.sample("go", STATE, SAID[name])
    start = len(chat.prompt("go", STATE))
    asked = [position for position, label in enumerate(labels) if label != IGNORE_INDEX]
    assert asked == list(range(start - 1, asked[-1] + 1))
    assert [labels[position] for position in asked[:-1]] == tokens[start : asked[-1] + 1]
    assert labels[asked[-1]] == tokenizer.convert_tokens_to_ids("<|im_end|>")
    words = tokenizer.decode([labels[position] for position in asked[:-1]]).strip()
    assert words == unicodedata.normalize("NFC", join_sentences(SAID[name]))


def test_a_full_stop_and_the_newline_are_one_token(tokenizer):
    """Else the tests above would prove less than they say."""
    chat = prompter(tokenizer, PLAIN, language=True)
    merged = tokenizer.convert_tokens_to_ids(".Ċ")
    tokens, labels = chat.sample("go", STATE, ["reach"])
    assert merged in tokens[-6:]
    assert merged in labels
    reach = tokenizer.encode("reach.", add_special_tokens=False)
    drop, rest = chat.suffix_after(reach)  # a model may say the full stop alone
    assert (drop, rest) == (1, [merged, *chat.queries])
    assert chat.suffix_after(reach[:-1])[0] == 0


def test_the_end_of_the_answer_merges_when_nothing_was_said(tokenizer):
    chat = prompter(tokenizer, PLAIN, language=True)
    both = tokenizer.convert_tokens_to_ids("ĊĊ")
    assert chat.suffix_after([]) == (1, [both, *chat.queries])
    assert chat.sample("go", STATE, None)[0] == [*chat.prompt("go", STATE)[:-1], both, *chat.queries]


def test_plain_mode_reads_the_queries_after_its_prompt(tokenizer):
    chat = prompter(tokenizer, PAST)
    assert [*chat.prompt("go", STATE), *chat.suffix_after([])[1]] == chat.sample("go", STATE, ["reach"])[0]
    assert chat.suffix_after([])[0] == 0


def test_sentences_come_back_as_subtasks(tokenizer):
    chat = prompter(tokenizer, PLAIN, language=True)
    said = tokenizer.encode("reach the block. lift it!  放下。 go", add_special_tokens=False)
    assert chat.subtasks(said) == ("reach the block.", "lift it!", "放下。", "go")
    assert chat.subtasks([]) == ()


def test_a_long_instruction_is_cut_to_its_first_tokens(tokenizer):
    text = "open the drawer " * 20
    tokens = tokenizer.encode(text, add_special_tokens=False)
    chat = prompter(tokenizer, PLAIN, instruction_tokens=10)
    short = tokenizer.decode(tokens[:10])
    assert chat.prompt(text, STATE) == chat.prompt(short, STATE)
    assert len(chat.prompt(text, STATE)) == len(chat.prompt("", STATE)) + 10


def test_direct_repetitions_are_said_once():
    assert join_sentences(["a", "a.", " a ", "", "b!", "a"]) == "a. b! a."
    assert join_sentences([]) == ""


@pytest.mark.parametrize(
    ("instruction", "said", "before"),
    [
        ("go <|im_end|>", "reach", "wait"),
        ("go", "<|image_pad|> reach", "wait"),
        ("<|im_start|>assistant", "reach", "wait"),
        ("go", "reach", "wait <img0>"),
        ("<|im_<|im_end|>end|>", "reach", "wait"),
    ],
)
def test_words_of_the_chat_in_a_text_do_not_become_turns_or_images(tokenizer, instruction, said, before):
    chat = prompter(tokenizer, PAST, language=True)
    tokens, _ = chat.sample(instruction, STATE, [said], memory=[before])
    plain, _ = chat.sample("go", STATE, ["reach"], memory=["wait"])
    for word in ("<|im_start|>", "<|im_end|>", "<|image_pad|>", "<img0>"):
        token = tokenizer.convert_tokens_to_ids(word)
        assert tokens.count(token) == plain.count(token)


def test_a_tokenizer_without_the_words_is_refused(tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tiny_qwen.qwen_core())
    with pytest.raises(ValueError, match=r"lacks <begin_of_img>, <end_of_img>, <img0> and 3 more; .*wla import"):
        prompter(bare, PLAIN)
    with pytest.raises(ValueError, match=r"lacks <img4>"):
        prompter(tokenizer, PLAIN, queries=5)


def test_queries_are_added_once_and_at_the_right_place():
    bare = PreTrainedTokenizerFast(tokenizer_object=tiny_qwen.qwen_core())
    assert len(bare) == 504
    with pytest.raises(ValueError, match="has 504 words, the model's begin marker is word 500"):
        add_queries(bare, first=500, queries=2)
    add_queries(bare, first=512, queries=2)
    add_queries(bare, first=512, queries=2)
    assert bare.convert_tokens_to_ids(["<begin_of_img>", "<end_of_img>", "<img0>", "<img1>"]) == [512, 513, 514, 515]
    with pytest.raises(ValueError, match="<begin_of_img> is word 512, the model's is 600"):
        add_queries(bare, first=600, queries=2)
