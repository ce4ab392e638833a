"""Questions about a scene and their answers: where things are, whether and how many there are, how they lie.

They give the small backbone its head start. One sequence holds many questions about the same images; only the answers
are learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from wla.data.prompts.nano import Prompter
from wla.types import IGNORE_INDEX

QUESTION_INSTRUCTION = "answer the questions"
COUNTS = ("zero", "one", "two", "three", "four", "five")
YES, NO = "yes", "no"


@dataclass(frozen=True)
class NamedObject:
    """Something with a name in a scene. place: x, y, z normalised to [-1, 1] as the robot's state is.

    shows: what can be read off it; "" for nothing.
    """

    name: str
    position: tuple[float, float, float]
    label: str = ""


@dataclass(frozen=True)
class Question:
    """text ends where the answer begins; the answer is words, or a place that becomes location words."""

    text: str
    answer: str | tuple[float, ...]


def questions(
    objects: Sequence[NamedObject], rng: np.random.Generator, *, absent_names: Sequence[str]
) -> list[Question]:
    """All places and what things show, in random order, then one question of each other kind.

    others: names of things not in the scene.
    """
    order = rng.permutation(len(objects))
    asked = [Question(f"where is the {_phrase_name(objects[i].name, rng)}", objects[i].position) for i in order]
    asked += [Question(f"what does the {objects[i].name} show", objects[i].label) for i in order if objects[i].label]
    blocks = [thing for thing in objects if thing.name.endswith("block")]
    asked.append(Question("how many blocks", COUNTS[len(blocks)]))
    if absent_names:
        present = rng.random() < 0.5
        known = [thing.name for thing in objects] if present else absent_names
        name = known[int(rng.integers(len(known)))]
        asked.append(Question(f"is there a {name}", YES if present else NO))
    if len(objects) > 1:
        first, second = (objects[i] for i in rng.choice(len(objects), 2, replace=False))
        left = first.position[0] < second.position[0]
        asked.append(Question(f"is the {first.name} left of the {second.name}", YES if left else NO))
    return asked


def _phrase_name(name: str, rng: np.random.Generator) -> str:
    """The name, or with its colour last, so that the word before the answer is the one to look for."""
    colour, _, noun = name.partition(" ")
    return f"{noun} that is {colour}" if noun == "block" and rng.random() < 0.5 else name


def question_sample(
    prompter: Prompter, state: Float[np.ndarray, " S"], asked: Sequence[Question]
) -> tuple[list[int], list[int]]:
    """A training sequence without meta-queries, and its labels: what should follow each position."""
    tokens = prompter.prompt(QUESTION_INSTRUCTION, state)
    labels = [IGNORE_INDEX] * len(tokens)
    for question in asked:
        text = prompter.text(question.text)
        answer = (
            prompter.text(question.answer)
            if isinstance(question.answer, str)
            else prompter.location_tokens(np.array(question.answer))
        )
        tokens += [*text, *answer]
        labels += [IGNORE_INDEX] * (len(text) - 1) + [*answer, IGNORE_INDEX]
    return tokens, labels


def question_texts(names: Sequence[str], labels: Sequence[str] = ()) -> list[str]:
    """Every wording, for training a tokenizer. shown: what things show."""
    texts = [QUESTION_INSTRUCTION, "how many blocks", YES, NO, *COUNTS]
    if labels:
        texts += [f"what does the {name} show" for name in names] + list(labels)
    for name in names:
        texts += [f"where is the {name} that is {name}", f"is there a {name}", f"is the {name} left of the {name}"]
    return texts
