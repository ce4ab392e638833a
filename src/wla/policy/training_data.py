"""The episodes that a checkpoint was trained on, by fingerprint: evaluation recognises them wherever they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Annotated

import numpy as np
from pydantic import Field

from wla.config import Config
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import Episode, LeRobotDataset

Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class TrainedDataset(Config):
    """A dataset that a policy learned from: where it lay, its columns, and the episodes that were not held out."""

    path: str
    columns: Columns = Columns()
    episodes: tuple[Fingerprint, ...]


class TrainingData(Config):
    """Content of a checkpoint's training_data.json."""

    datasets: tuple[TrainedDataset, ...] = ()

    @classmethod
    def of(cls, sources: Iterable[tuple[DatasetConfig, LeRobotDataset]], before: TrainingData | None) -> TrainingData:
        """The record of a training. before: that of the policy that it continues."""
        trained = []
        for config, dataset in sources:
            held = config.held_out(dataset) if config.holds_out else np.zeros(len(dataset.episodes), bool)
            episodes = [each for each, out in zip(dataset.episodes, held, strict=True) if not out]
            trained.append(
                TrainedDataset(
                    path=config.path,
                    columns=config.columns,
                    episodes=tuple(fingerprint(dataset, each) for each in episodes),
                )
            )
        return cls(datasets=(*(before.datasets if before is not None else ()), *trained))

    def held_out(self, dataset: LeRobotDataset) -> Sequence[Episode]:
        """The episodes of a dataset that were not trained on."""
        trained = {each for source in self.datasets for each in source.episodes}
        return [each for each in dataset.episodes if fingerprint(dataset, each) not in trained]

    @property
    def columns(self) -> tuple[Columns, ...]:
        """The columns of its datasets, each once."""
        found: list[Columns] = []
        for source in self.datasets:
            if source.columns not in found:
                found.append(source.columns)
        return tuple(found)


def fingerprint(dataset: LeRobotDataset, episode: Episode) -> str:
    """16 hexadecimal digits of an episode's instruction, states and actions: the same in a copy of the dataset."""
    digest = blake2b(episode.instruction.encode("utf-8", "surrogatepass"), digest_size=8)
    for values in (dataset.state, dataset.actions):
        if values is not None:
            digest.update(np.ascontiguousarray(values[episode.start : episode.end]).tobytes())
    return digest.hexdigest()
