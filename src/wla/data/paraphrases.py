"""Several phrasings of each task, from a JSON file: {"<task text>": ["phrasing", ...]}."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wla.files import read_json

INSTRUCTIONS = "instructions.json"
"""Where `wla data convert` puts the phrasings that a source has, below the dataset's folder."""


def read_paraphrases(path: Path, tasks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The phrasings of these tasks. ValueError when the file is damaged, or has none for one of them."""
    tree = read_json(path, missing="no such file of instructions; correct the path or leave `instructions` out")
    paraphrases = {}
    for task in tasks:
        if task not in tree:
            raise ValueError(f"{path}: no phrasings for the task {task!r}; add them")
        texts = tree[task]
        good = isinstance(texts, list) and all(isinstance(text, str) and text.strip() for text in texts)
        if not texts or not good:
            raise ValueError(f"{path}: the task {task!r} needs a list of at least one phrasing, none of them empty")
        paraphrases[task] = tuple(texts)
    return paraphrases
