"""Files beside the weights in the published layout of WLA-0: configuration, tokenizer, statistics."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from wla.compat.published_config import Sections
from wla.data.normalize import Statistics
from wla.data.published_statistics import write_published
from wla.policy.checkpoint_files import ROBOT, ROBOTS, STATISTICS, TOKENIZER
from wla.policy.robots import read_robots
from wla.specs import RobotSpec

PUBLISHED_STATISTICS = ("norm_stats.json", "dataset_statistics.json", "statistics.json")
"""Names of statistics files beside published weights."""


def write_files(folder: Path, sections: Sections, out: Path) -> None:
    """Writes everything but the weights of one of our checkpoints under its published name.

    Args:
        folder: checkpoint; its tokenizer and statistics are exported if there are any.
        sections: its published configuration.
        out: existing folder.
    """
    (out / "config.json").write_text(json.dumps(sections, indent=2) + "\n", encoding="utf-8")
    if (folder / TOKENIZER).is_file():
        shutil.copy(folder / TOKENIZER, out / TOKENIZER)
    if (folder / ROBOTS).is_file():
        found = {robot.spec.embodiment: robot.statistics for robot in read_robots(folder)}
        write_published(out / PUBLISHED_STATISTICS[0], found)
    elif (folder / STATISTICS).is_file():
        name = RobotSpec.load(folder / ROBOT).embodiment if (folder / ROBOT).is_file() else "policy"
        write_published(out / PUBLISHED_STATISTICS[0], {name: Statistics.load(folder / STATISTICS)})
