"""Opening of training datasets; datasets with validation or evaluation episodes are refused."""

from __future__ import annotations

from collections.abc import Iterable

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.envs.seeds import Split, require_seeds
from wla.progress import notes


def open_sources(
    configs: Iterable[DatasetConfig], split: Split = "training"
) -> tuple[list[DatasetConfig], list[LeRobotDataset]]:
    """Returns the datasets of a mixture with their configurations; a folder of datasets is expanded to all of them.

    ValueError when a folder has no dataset, a dataset cannot be read, or an episode's seed is not of the split.
    """
    sources = [source for config in configs for source in config.expand()]
    datasets = [source.open() for source in sources]
    for dataset in datasets:
        notes(dataset.root, dataset.notes)
        try:
            require_seeds((episode.seed for episode in dataset.episodes if episode.seed is not None), split)
        except ValueError as error:
            raise ValueError(f"{dataset.root}: {error}") from error
    return sources, datasets


def open_datasets(paths: Iterable[str]) -> list[LeRobotDataset]:
    """Returns the datasets in folders, opened with the default configuration: see `open_sources`."""
    return open_sources(DatasetConfig(path=path) for path in paths)[1]
