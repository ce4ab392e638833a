"""The datasets that a recipe trains on: opened, and none with episodes that are kept to measure with."""

from __future__ import annotations

from collections.abc import Iterable

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs.seeds import require_seeds


def open_sources(configs: Iterable[DatasetConfig]) -> tuple[list[DatasetConfig], list[LeRobotDataset]]:
    """Each dataset of a mixture, of folders that hold several each of them, with its configuration.

    ValueError when there is none, when one cannot be read, and for episodes of validation or evaluation.
    """
    sources = [found for config in configs for found in config.expand()]
    datasets = [source.open() for source in sources]
    for dataset in datasets:
        try:
            require_seeds((episode.seed for episode in dataset.episodes if episode.seed is not None), "training")
        except ValueError as error:
            raise ValueError(f"{dataset.root}: {error}") from error
    return sources, datasets


def open_datasets(paths: Iterable[str]) -> list[LeRobotDataset]:
    """As `open_sources`, of folders alone."""
    return open_sources(DatasetConfig(path=path) for path in paths)[1]
