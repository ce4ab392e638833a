"""Configuration of annotation commands, importable without torch."""

from __future__ import annotations

from pathlib import Path

from wla.config import Config


class LabelActionsConfig(Config):
    """Arguments of `label_actions`."""

    inverse: str
    """Folder of an inverse-dynamics model."""
    dataset: Path
    """A LeRobot dataset of the same robot."""
    out: Path
    """File for the actions (.parquet): `pseudo_actions` of a dataset in a recipe."""
