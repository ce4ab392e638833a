"""Configuration of the data of a training: a dataset of its mixture, and the augmentation of images."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool
from pydantic import Field, field_validator, model_validator

from wla.config import Config
from wla.data.hub_snapshots import dataset_folder
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.format import INFO
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.lerobot.tables import visible
from wla.data.training_frames import CACHE_GB
from wla.robots import load_robot
from wla.specs import RobotSpec


class DatasetConfig(Config):
    """One dataset of a mixture."""

    path: str
    """Folder of the dataset, or of several, or an id on the Hugging Face hub, whose copy in its cache is read."""
    weight: float | None = Field(default=None, gt=0)
    """Weight in the mixture, relative to the others; without weights datasets count by their number of frames."""
    instructions: str | None = None
    """JSON file {"<task text>": ["paraphrase", ...]}: each sample gets a random one of its task."""
    columns: Columns = Columns()
    """Columns that hold state, action and cameras, where another program recorded the dataset."""
    robot: RobotSpec | None = None
    """The robot of a dataset that does not carry it (meta/wla_robot.json); a text is a name of `wla list robots`."""
    actions: bool = True
    """False: train the world model on it, but no actions; it may be of another robot, and lack cameras other than the
    primary one, whose images are then black."""
    action_fraction: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the episodes, drawn at random and always the same, whose actions are learned; of the others only
    images and subtasks are. A smaller fraction is part of a larger one. Ranges of actions are those of all episodes."""
    pseudo_actions: str | None = None
    """File of `wla data label-actions`: actions to learn instead of the dataset's own, which may be absent; unknown
    ones (nan) are masked."""
    memory_replay: str | None = None
    """File of `wla record-memory`: the memory of a policy that acted on this dataset."""
    interventions: Literal["all", "only"] = "all"
    """only: train on what a person did who took a policy's place (column `intervention`), and not on what the policy
    did before and after. The same dataset may be named twice, with a weight for each."""
    validation_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the episodes, evenly spread, that are never trained on: the held-out loss is computed on them (see
    `loop.validation_every`). Ranges of states and actions are those of all episodes."""
    validation_episodes: str | None = Field(default=None, pattern=r"^\d*:\d*$")
    """Alternatively, the episodes to hold out by their index, in LeRobot's notation of splits: `45:50` are 45 .. 49,
    `45:` all from 45 on."""
    cache_frames: bool = True
    """Decode all frames once into `ROOT/.cache`, at the size that the model reads, which is the fastest to read; False:
    seek in the files. `wla data clear-cache` removes caches."""
    cache_gb: float = Field(default=CACHE_GB, gt=0)
    """Limit of this dataset's decoded frames in GB (10^9 bytes). Where they, or the disk's free space, exceed it,
    training seeks in the files, and says so."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        """A plain string is the path: `datasets=PATH` on the command line."""
        return {"path": value} if isinstance(value, str) else value

    @field_validator("robot", mode="before")
    @classmethod
    def _robot_by_name(cls, value: Any) -> Any:
        return load_robot(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _held_out_once(self) -> Self:
        if self.validation_fraction and self.validation_episodes is not None:
            raise ValueError("validation_fraction and validation_episodes both hold episodes out; give one of them")
        return self

    @property
    def holds_out(self) -> bool:
        """Whether some episodes are never trained on."""
        return bool(self.validation_fraction) or self.validation_episodes is not None

    def held_out(self, dataset: LeRobotDataset) -> Bool[np.ndarray, " E"]:
        """Returns which episodes of the dataset are held out. ValueError when they are all, or are not there."""
        count = len(dataset.episodes)
        if self.validation_episodes is not None:
            first, _, end = self.validation_episodes.partition(":")
            held = np.zeros(count, bool)
            held[int(first or 0) : int(end or count)] = True
            if not held.any() or int(end or count) > count:
                raise ValueError(
                    f"{dataset.root}: validation_episodes {self.validation_episodes} of a dataset with {count} "
                    "episodes; correct one"
                )
        else:
            held = np.diff(np.floor(np.arange(count + 1) * self.validation_fraction)) > 0
            held[-1] |= bool(self.validation_fraction) and not held.any()
        if held.all():
            raise ValueError(
                f"{dataset.root}: all {count} episodes are held out; hold out fewer of them, or name other episodes in "
                "validation_datasets"
            )
        return held

    def with_actions(self, dataset: LeRobotDataset) -> Bool[np.ndarray, " E"]:
        """Returns which episodes of the dataset have actions that are learned: one at least."""
        order = np.random.default_rng(0).permutation(len(dataset.episodes))
        return order < max(1, round(self.action_fraction * len(order)))

    def expand(self) -> list[DatasetConfig]:
        """This dataset or, if the path is a folder of several, each of them with an equal fraction of the weight.

        ValueError when there is none, or the hub does not give it.
        """
        root = dataset_folder(self.path)
        found = [root] if (root / INFO).is_file() else sorted(file.parents[1] for file in root.glob(f"**/{INFO}"))
        found = [each for each in found if visible(each.relative_to(root))]
        if not found:
            raise ValueError(f"{root}: neither a LeRobot dataset (with {INFO}) nor a folder that holds some")
        weight = None if self.weight is None else self.weight / len(found)
        return [self.replace(path=str(path), weight=weight) for path in found]

    def open(self) -> LeRobotDataset:
        """ValueError when the dataset cannot be read or is of another robot."""
        return LeRobotDataset(dataset_folder(self.path), columns=self.columns, robot=self.robot)


class ImageAugmentation(Config):
    """Random crop and colours. Each sample has its own; each camera is cropped on its own.

    Whatever two images of a sample have in common, they still have in common: the colours of a pixel depend on that
    pixel alone. Black images, which stand for absent ones, stay black.
    """

    crop: float = Field(default=0.95, gt=0, le=1)
    """Side of the part that is cut out, as a fraction of the image's side, and scaled back to it."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """Colours are multiplied by 1 - brightness .. 1 + brightness."""
    contrast: float = Field(default=0.2, ge=0, lt=1)
    """Distances from mid-grey are multiplied by 1 - contrast .. 1 + contrast."""
    saturation: float = Field(default=0.4, ge=0, le=1)
    """Distances from the grey of the same luma are multiplied by 1 - saturation .. 1 + saturation."""
    hue: float = Field(default=0.05, ge=0, le=0.5)
    """Hues are turned by up to this fraction of a full turn, either way."""
