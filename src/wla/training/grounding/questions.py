"""Visual question answering on scenes: questions about objects' positions, presence, number, labels and relations.

They pretrain the nano backbone. One sequence holds many questions about the same images; only the answers have labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from wla.batch import left_pad
from wla.data.prompts.nano import Prompter
from wla.envs.family import Position
from wla.types import IGNORE_INDEX

QUESTION_INSTRUCTION = "answer the questions"
COUNTS = ("zero", "one", "two", "three", "four", "five")
YES, NO = "yes", "no"


@dataclass(frozen=True)
class NamedObject:
    """An object in a scene. position: x, y, z normalised to [-1, 1] like the robot's state. label: text that can be
    read off it, "" for none."""

    name: str
    position: tuple[float, float, float]
    label: str = ""


def in_state_units(
    position: Position, center: Float[np.ndarray, " n"], radius: Float[np.ndarray, " n"]
) -> tuple[float, float, float]:
    """The position, normalised as the state's first one to three dimensions are; 0 where the state has none."""
    own = (np.array(position)[: len(center)] - center) / radius
    x, y, z = np.pad(own, (0, 3 - len(own))).tolist()
    return x, y, z


@dataclass(frozen=True)
class Question:
    """A question text and its answer: a text, or a position that is encoded as location tokens."""

    text: str
    answer: str | tuple[float, ...]


def questions(
    objects: Sequence[NamedObject], rng: np.random.Generator, *, absent_names: Sequence[str]
) -> list[Question]:
    """Returns the position and label questions of all objects in random order, then one question of each other type.

    absent_names: names of objects that are not in the scene.
    """
    order = rng.permutation(len(objects))
    result = [Question(f"where is the {_phrase_name(objects[i].name, rng)}", objects[i].position) for i in order]
    result += [Question(f"what does the {objects[i].name} show", objects[i].label) for i in order if objects[i].label]
    blocks = [each for each in objects if each.name.endswith("block")]
    result.append(Question("how many blocks", COUNTS[len(blocks)]))
    if absent_names:
        present = rng.random() < 0.5
        names = [each.name for each in objects] if present else absent_names
        name = names[int(rng.integers(len(names)))]
        result.append(Question(f"is there a {name}", YES if present else NO))
    if len(objects) > 1:
        first, second = (objects[i] for i in rng.choice(len(objects), 2, replace=False))
        left = first.position[0] < second.position[0]
        result.append(Question(f"is the {first.name} left of the {second.name}", YES if left else NO))
    return result


def _phrase_name(name: str, rng: np.random.Generator) -> str:
    """Returns the name, half of the time with a block's colour last, so that it directly precedes the answer."""
    colour, _, noun = name.partition(" ")
    return f"{noun} that is {colour}" if noun == "block" and rng.random() < 0.5 else name


def question_sample(
    prompter: Prompter, state: Float[np.ndarray, " S"], questions: Sequence[Question]
) -> tuple[list[int], list[int]]:
    """Returns a training sequence of T tokens without meta-queries, and its T labels: the token that should follow each
    position, `IGNORE_INDEX` outside the answers."""
    tokens = prompter.prompt(QUESTION_INSTRUCTION, state)
    labels = [IGNORE_INDEX] * len(tokens)
    for question in questions:
        text = prompter.text(question.text)
        answer = (
            prompter.text(question.answer)
            if isinstance(question.answer, str)
            else prompter.location_tokens(np.array(question.answer))
        )
        tokens += [*text, *answer]
        labels += [IGNORE_INDEX] * (len(text) - 1) + [*answer, IGNORE_INDEX]
    return tokens, labels


def collate_samples(
    samples: Sequence[tuple[list[int], list[int]]], pad: int
) -> tuple[Int64[Tensor, "B T"], Bool[Tensor, "B T"], Int64[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Returns tokens, padded on the left with `pad`, where they are none of it, labels, and where there are any."""
    tokens, mask = left_pad([tokens for tokens, _ in samples], pad)
    labels, _ = left_pad([labels for _, labels in samples], IGNORE_INDEX)
    return tokens, mask, labels, labels != IGNORE_INDEX


def question_texts(names: Sequence[str], labels: Sequence[str] = ()) -> list[str]:
    """Returns texts with every phrasing, to train a tokenizer on. labels: labels of the objects."""
    texts = [QUESTION_INSTRUCTION, "how many blocks", YES, NO, *COUNTS]
    if labels:
        texts += [f"what does the {name} show" for name in names] + list(labels)
    for name in names:
        texts += [f"where is the {name} that is {name}", f"is there a {name}", f"is the {name} left of the {name}"]
    return texts
