"""Columns of a dataset: those that we record, and the names that other programs gave to theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32
from pydantic import Field

from wla.config import Config
from wla.data.lerobot.format import (
    ACTION,
    CAMERA_DTYPES,
    IMAGE_PREFIX,
    INDEX_COLUMNS,
    INFO,
    RESULT_COLUMNS,
    REWARD,
    ROBOT,
    STATE,
    SUBTASK,
    DatasetInfo,
    Feature,
    frame_rate,
    video_feature,
)
from wla.specs import RobotSpec

TYPES = {
    **{name: pa.int64() if dtype == "int64" else pa.float64() for name, dtype in INDEX_COLUMNS.items()},
    REWARD: pa.float64(),
    SUBTASK: pa.string(),
}
"""Types in which columns are compared, whatever they are stored as."""


class Columns(Config):
    """Columns of a dataset that another program recorded; the defaults are LeRobot's own names.

    cameras: our name of a camera -> its feature, in full or without `observation.images.`. Cameras that are not listed
    keep their names. camera_order: alternatively, our names of the first cameras in the order in which the dataset
    lists them, the primary one first, as for the published datasets.
    """

    state: str = STATE
    action: str = ACTION
    cameras: dict[str, str] = Field(default_factory=dict)
    camera_order: tuple[str, ...] = ()

    def camera_features(self, root: Path, info: DatasetInfo) -> dict[str, str]:
        """Camera -> feature. ValueError when a feature is not a camera, or when two cameras would have one name."""
        known = info.cameras
        hidden = [key for key, feature in info.features.items() if feature.dtype in CAMERA_DTYPES]
        hidden = [key for key in hidden if key not in known.values()]
        if hidden:
            raise ValueError(f"{root / INFO}: {hidden[0]!r} and another feature give a camera one name; rename one")
        if len(self.camera_order) > len(known):
            raise ValueError(f"{root / INFO}: has {len(known)} cameras, {list(known)}, not {len(self.camera_order)}")
        renamed = {}
        for camera, feature in (*zip(self.camera_order, known, strict=False), *self.cameras.items()):
            key = known.get(feature, feature)
            if key not in known.values():
                raise ValueError(
                    f"{root / INFO}: no feature {feature!r} for camera {camera!r}; the dataset has {list(known)}"
                )
            renamed[camera] = key
        features = {name: key for name, key in known.items() if key not in renamed.values()}
        duplicates = sorted(features.keys() & renamed.keys())
        if duplicates:
            raise ValueError(f"{root / INFO}: the dataset has a camera {duplicates[0]!r} already; rename that one too")
        return renamed | features

    def fits(self, info: DatasetInfo) -> bool:
        """Whether a dataset has these columns of state and action."""
        return self.state in info.features and self.action in info.features

    def require_present(self, root: Path, info: DatasetInfo) -> None:
        """ValueError when a column that reading needs is absent; without actions a dataset is action-free."""
        for name in (self.state, *INDEX_COLUMNS, *([] if self.action == ACTION else [self.action])):
            if name not in info.features:
                configurable = name in (self.state, self.action)
                remedy = "; name the column that holds it" if configurable else "; restore it"
                raise ValueError(
                    f"{root / INFO}: feature {name!r} is missing; the dataset has {list(info.features)}{remedy}"
                )


def matrix(table: pa.Table, key: str, width: int) -> Float32[np.ndarray, "N D"] | None:
    """A column as a matrix; None when it does not have `width` numbers in every row."""
    column = table[key].combine_chunks()
    listed = pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
    values = column.flatten() if listed else column
    numeric = pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)
    if not numeric or len(values) != len(table) * width or values.null_count:
        return None
    return values.to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(table), width)


def require_robot(root: Path, info: DatasetInfo, columns: Columns, spec: RobotSpec, *, given: bool) -> None:
    """ValueError when the columns are not those of the robot.

    given: whether the user gave the robot; else it comes from the dataset's own file.
    """
    path = root / INFO
    owner = f"the given robot {spec.embodiment!r}" if given else ROBOT
    remedy = "give the robot of this dataset" if given else "correct one"
    if frame_rate(spec.action.rate_hz) != frame_rate(float(info.fps)):
        raise ValueError(f"{path}: fps is {info.fps:g} and {owner} has {spec.action.rate_hz:g} Hz; {remedy}")
    vectors: dict[str, tuple[int, ...]] = {columns.state: (spec.observation.state_dim,)}
    if columns.action in info.features:
        vectors[columns.action] = (spec.action.dim,)
    found = {key: info.features[key].shape for key in vectors}
    cameras = columns.camera_features(root, info)
    for camera, size in spec.observation.cameras.items():
        if camera not in cameras:
            raise ValueError(f"{path}: camera {camera!r} is missing, {owner} has it; {remedy}")
        vectors[cameras[camera]] = (*size, 3)
        found[cameras[camera]] = (*info.image_size(root, cameras[camera]), 3)
    for key, shape in vectors.items():
        if found[key] != shape:
            raise ValueError(f"{path}: {key!r} has shape {found[key]} and {owner} has {shape}; {remedy}")


def features_for(spec: RobotSpec, *, with_actions: bool, with_rewards: bool) -> dict[str, Feature]:
    """Columns of a dataset of this robot."""
    fps = frame_rate(spec.action.rate_hz)
    features = {
        STATE: Feature(dtype="float32", shape=(spec.observation.state_dim,), names=list(spec.observation.state_names))
    }
    if with_actions:
        features[ACTION] = Feature(dtype="float32", shape=(spec.action.dim,), names=list(spec.action.names))
    for camera, (height, width) in spec.observation.cameras.items():
        features[IMAGE_PREFIX + camera] = video_feature(height, width, fps)
    features[SUBTASK] = Feature(dtype="string", shape=(1,))
    for name, dtype in {**(RESULT_COLUMNS if with_rewards else {}), **INDEX_COLUMNS}.items():
        features[name] = Feature(dtype=dtype, shape=(1,))
    return features
