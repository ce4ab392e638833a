"""Configuration of annotation commands, importable without torch."""

from __future__ import annotations

from pathlib import Path

from wla.config import Config


class LabelActionsConfig(Config):
    """Which actions to infer."""

    inverse: str
    """Folder of a model of inverse dynamics."""
    dataset: Path
    """A LeRobot dataset of the same robot."""
    out: Path
    """File for the actions (.parquet); a recipe takes it as a dataset's `inferred`."""
