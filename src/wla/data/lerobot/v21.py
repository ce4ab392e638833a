"""Metadata of LeRobot v2.0 and v2.1: JSON lines instead of tables, one data file and one video per episode and camera.

Format reference: huggingface/lerobot, `src/lerobot/datasets`, codebase version v2.1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard

from wla.data.lerobot.format import DatasetInfo
from wla.files import parse_json, read_text
from wla.foreign import path_below

TASKS = "meta/tasks.jsonl"


def read_episode_lines(path: Path, info: DatasetInfo) -> list[dict[str, Any]]:
    """The episodes as rows of `meta/episodes` would have them. ValueError when they are damaged or incomplete."""
    rows = []
    for line in read_indexed_jsonl(path, "episode_index"):
        number, length, tasks = line["episode_index"], line.get("length"), line.get("tasks")
        if not is_count(length) or not isinstance(tasks, list) or not all(isinstance(each, str) for each in tasks):
            raise ValueError(f"{path}: episode {number} needs a length and its tasks, texts; restore it")
        row = {"episode_index": number, "length": length, "tasks": tasks, "robot_type": line.get("robot_type")}
        row |= {f"data/{name}": value for name, value in info.episode_numbers(number).items()}
        for key in info.video_keys:
            row |= {f"videos/{key}/{name}": value for name, value in info.episode_numbers(number).items()}
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / float(info.fps)}
        rows.append(row)
    return rows


def read_task_lines(root: Path) -> list[dict[str, Any]]:
    """The lines of `meta/tasks.jsonl` in the order of their task_index. ValueError when a text is missing."""
    path = path_below(root, TASKS, root)
    lines = read_indexed_jsonl(path, "task_index")
    wrong = [line["task_index"] for line in lines if not isinstance(line.get("task"), str)]
    if wrong:
        raise ValueError(f"{path}: task {wrong[0]} has no text; restore it")
    return lines


def read_indexed_jsonl(path: Path, index: str) -> list[dict[str, Any]]:
    """Reads a JSONL file, sorted by the field `index`, which must count from 0 without gaps.

    Every line has to be whole, unlike those of a log that is being written: each is an episode or a task.
    """
    lines = []
    for number, text in enumerate(read_text(path, "JSON lines").split("\n"), start=1):
        if not text.strip():
            continue
        line = parse_json(text, path, f" in line {number}")
        if not isinstance(line, dict) or not isinstance(line.get(index), int):
            raise ValueError(f"{path}: line {number} has no number {index!r}; restore the file")
        lines.append(line)
    lines.sort(key=lambda line: line[index])
    numbers = [line[index] for line in lines]
    if numbers != list(range(len(lines))):
        raise ValueError(f"{path}: {index} must count from 0 without gaps, it is {numbers[:8]}; restore the file")
    return lines


def is_count(value: Any) -> TypeGuard[int]:
    """True for a whole number from 1 on, of a usual size."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40
