"""Rotations: axis-angle, quaternions and Euler angles <-> matrices <-> 6D, the first two columns of the matrix.

Networks learn 6D best (Zhou et al. 2019, arXiv 1812.07035): the other forms jump where the rotation does not.
"""

from __future__ import annotations

import warnings
from typing import Annotated

import numpy as np
from jaxtyping import Float, Float64
from pydantic import AfterValidator
from scipy.spatial.transform import Rotation

SIX = 6
"""Dimensions of the 6D form."""
_LENGTHS = {"axis_angle": 3, "quaternion_wxyz": 4, "quaternion_xyzw": 4}
_EULER = "euler_"


def _check(name: str) -> str:
    axes = name.removeprefix(_EULER)
    is_euler = name.startswith(_EULER) and len(axes) == 3 and (set(axes) <= set("xyz") or set(axes) <= set("XYZ"))
    if name not in _LENGTHS and not (is_euler and axes[0] != axes[1] != axes[2]):
        raise ValueError(
            f"{name!r} is not one of {', '.join(_LENGTHS)} and euler_ with three axes (euler_xyz about fixed axes, "
            "euler_XYZ about moving ones)"
        )
    return name


RotationFormat = Annotated[str, AfterValidator(_check)]
"""axis_angle, quaternion_wxyz, quaternion_xyzw, or Euler angles in radians with their axes as scipy writes them."""


def length(form: str) -> int:
    """Number of values of a form."""
    return _LENGTHS.get(form, 3)


def to_matrices(values: Float[np.ndarray, "*B k"], form: str) -> Float64[np.ndarray, "*B 3 3"]:
    """Rotation matrices of values in a form, NaN where a value is. ValueError for a quaternion of norm 0."""
    rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
    known = np.isfinite(rows).all(1)
    matrices = np.full((len(rows), 3, 3), np.nan)
    if known.any():
        matrices[known] = _rotation(rows[known], form).as_matrix()
    return matrices.reshape(*values.shape[:-1], 3, 3)


def from_matrices(matrices: Float64[np.ndarray, "*B 3 3"], form: str) -> Float64[np.ndarray, "*B k"]:
    """Values of rotation matrices in a form: quaternions with a scalar part of at least 0, angles of at most pi."""
    rows = matrices.reshape(-1, 3, 3)
    known = np.isfinite(rows).all((1, 2))
    values = np.full((len(rows), length(form)), np.nan)
    if known.any():
        values[known] = _values(Rotation.from_matrix(rows[known]), form)
    return values.reshape(*matrices.shape[:-2], -1)


def to_6d(matrices: Float64[np.ndarray, "*B 3 3"]) -> Float64[np.ndarray, "*B 6"]:
    """The first two columns, one after the other."""
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=-1)


def from_6d(values: Float[np.ndarray, "*B 6"]) -> Float64[np.ndarray, "*B 3 3"]:
    """The rotation whose first two columns are nearest to any six numbers, NaN where one is not finite."""
    rows = values.reshape(-1, 2, 3).astype(np.float64).swapaxes(1, 2)
    known = np.isfinite(rows).all((1, 2))
    matrices = np.full((len(rows), 3, 3), np.nan)
    left, _, right = np.linalg.svd(rows[known], full_matrices=False)
    columns = left @ right
    third = np.cross(columns[..., 0], columns[..., 1])
    matrices[known] = np.concatenate([columns, third[..., None]], axis=-1)
    return matrices.reshape(*values.shape[:-1], 3, 3)


def continuous_quaternions(
    quaternions: Float64[np.ndarray, "*B n 4"], start: Float[np.ndarray, "*B 4"] | None
) -> Float64[np.ndarray, "*B n 4"]:
    """The same rotations without sign changes along n: each has the sign that is nearer to the one before, the first
    to `start`, or its own without. (q and -q are the same rotation.)"""
    first = quaternions[..., :1, :] if start is None else start[..., None, :]
    before = np.concatenate([first, quaternions[..., :-1, :]], axis=-2)
    signs = np.where((quaternions * before).sum(-1) < 0, -1.0, 1.0)
    return quaternions * np.cumprod(signs, axis=-1)[..., None]


def _rotation(rows: Float64[np.ndarray, "N k"], form: str) -> Rotation:
    if form == "axis_angle":
        return Rotation.from_rotvec(rows)
    if form.startswith(_EULER):
        return Rotation.from_euler(form.removeprefix(_EULER), rows)
    if not np.linalg.norm(rows, axis=1).all():
        raise ValueError("a quaternion has norm 0, which is no rotation; correct the recording")
    return Rotation.from_quat(np.roll(rows, -1, axis=1) if form == "quaternion_wxyz" else rows)


def _values(rotation: Rotation, form: str) -> Float64[np.ndarray, "N k"]:
    if form == "axis_angle":
        return rotation.as_rotvec()
    if form.startswith(_EULER):
        with warnings.catch_warnings():  # in gimbal lock the third angle is 0, and the rotation right
            warnings.simplefilter("ignore", UserWarning)
            return rotation.as_euler(form.removeprefix(_EULER))
    xyzw = rotation.as_quat()
    xyzw = np.where(xyzw[:, 3:] < 0, -xyzw, xyzw)
    return np.roll(xyzw, 1, axis=1) if form == "quaternion_wxyz" else xyzw
