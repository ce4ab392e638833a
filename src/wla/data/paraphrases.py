"""Paraphrases of instructions, from a JSON file: {"<task text>": ["paraphrase", ...]}."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wla.files import read_json

INSTRUCTIONS = "instructions.json"
"""File in a dataset's folder into which `wla data convert` writes the paraphrases of a source."""


def read_paraphrases(path: Path, tasks: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Paraphrases by task. ValueError when the file is damaged, or has none for one of the tasks."""
    tree = read_json(path, missing="no such file of paraphrases; correct the path or leave `instructions` out")
    paraphrases = {}
    for task in tasks:
        if task not in tree:
            raise ValueError(f"{path}: no paraphrases for the task {task!r}; add them")
        texts = tree[task]
        valid = isinstance(texts, list) and all(isinstance(text, str) and text.strip() for text in texts)
        if not texts or not valid:
            raise ValueError(f"{path}: the task {task!r} needs a list of at least one paraphrase, none of them empty")
        paraphrases[task] = tuple(texts)
    return paraphrases
