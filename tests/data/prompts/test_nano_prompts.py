from __future__ import annotations

import numpy as np
import pytest
import tiny

from wla.batch import left_pad
from wla.data.prompts.nano import Prompter
from wla.training.grounding.questions import NamedObject, Question, question_sample, questions
from wla.types import IGNORE_INDEX

IMAGE_TOKENS = {"front": 4, "wrist": 1}


@pytest.fixture(scope="module")
def prompter() -> Prompter:
    return Prompter(tiny.PROMPT, tiny.tokenizer(), IMAGE_TOKENS)


def test_a_sample_is_prompt_answer_and_queries(prompter):
    tokens, labels = prompter.sample("press the button", np.zeros(3, np.float32), tiny.SUBTASKS)
    prompt = prompter.prompt("press the button", np.zeros(3, np.float32))
    answer = prompter.answer(tiny.SUBTASKS)
    assert tokens[: len(prompt)] == prompt
    assert tokens[len(prompt) :] == [*answer, *prompter.suffix()]
    assert tokens.count(prompter.image) == sum(IMAGE_TOKENS.values())
    assert tokens[-3:] == [prompter.first_query + i for i in range(3)]
    # Each label is the next token: the answer from the last token of the prompt, then the end of the turn.
    learned = [label for label in labels if label != IGNORE_INDEX]
    assert learned == [*answer, prompter.stop]
    assert labels[len(prompt) - 1] == answer[0]
    assert labels[len(prompt) + len(answer) - 1] == prompter.stop


def test_without_subtasks_no_token_is_learned(prompter):
    tokens, labels = prompter.sample("press the button", np.zeros(3, np.float32), None)
    assert set(labels) == {IGNORE_INDEX}
    assert len(tokens) == len(labels)


@pytest.mark.parametrize("subtasks", [(), tiny.SUBTASKS[:1], tiny.SUBTASKS])
def test_subtasks_are_the_inverse_of_an_answer(prompter, subtasks):
    assert prompter.subtasks(prompter.answer(subtasks)) == tuple(subtasks)


def test_any_text_encodes(prompter):
    tokens = prompter.encode("öffne die Schublade 引き出し")
    assert prompter.tokenizer.decode(tokens).strip() == "öffne die Schublade 引き出し"


def test_coordinates_are_binned_and_clamped(prompter):
    bins = [
        token - prompter.first_location for token in prompter.location_tokens(np.array([-5, -1, -0.01, 0, 0.999, 1, 9]))
    ]
    assert bins == [0, 0, 3, 4, 7, 7, 7]


def test_rows_are_padded_on_the_left():
    tokens, mask = left_pad([[1, 2, 3], [4]], 0)
    assert tokens.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert mask.tolist() == [[True] * 3, [False, False, True]]


def test_questions_are_answered_from_the_scene():
    objects = [
        NamedObject("red block", (-0.5, 0.0, 0.0)),
        NamedObject("bowl", (0.5, 0.0, 0.0)),
        NamedObject("blue block", (0.0, 0.0, 0.0)),
    ]
    for seed in range(30):
        scene_questions = questions(objects, np.random.default_rng(seed), absent_names=["button"])
        answers = {question.text: question.answer for question in scene_questions}
        assert answers["where is the bowl"] == (0.5, 0, 0)
        assert answers["how many blocks"] == "two"
        for text, answer in answers.items():
            if " left of " in text:
                first, second = text.removeprefix("is the ").split(" left of the ")
                positions = {item.name: item.position[0] for item in objects}
                assert answer == ("yes" if positions[first] < positions[second] else "no")
            if text.startswith("is there"):
                assert answer == ("no" if "button" in text else "yes")


def test_labels_of_objects_are_asked_for():
    objects = [NamedObject("first card", (0.0, 0.0, 0.0), "3"), NamedObject("bowl", (0.5, 0.0, 0.0))]
    asked = {q.text: q.answer for q in questions(objects, np.random.default_rng(0), absent_names=[])}
    assert asked["what does the first card show"] == "3"
    assert "what does the bowl show" not in asked


def test_only_answers_are_learned(prompter):
    asked = [Question("where is the red block", (-1.0, 0.0, 1.0)), Question("how many blocks", "two")]
    tokens, labels = question_sample(prompter, np.zeros(3, np.float32), asked)
    assert len(tokens) == len(labels)
    learned = [label for label in labels if label != IGNORE_INDEX]
    first = prompter.first_location
    assert learned == [first, first + 4, first + 7, *prompter.encode("two")]
    for position, label in enumerate(labels):
        if label != IGNORE_INDEX:
            assert tokens[position + 1] == label
