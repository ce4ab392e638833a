"""Rotations in every form and in 6D, at random and where forms have their jumps."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy.spatial.transform import Rotation

from wla.data.rotations import (
    RotationFormat,
    continuous_quaternions,
    from_6d,
    from_matrices,
    length,
    to_6d,
    to_matrices,
)

FORMS = ("axis_angle", "quaternion_wxyz", "quaternion_xyzw", "euler_xyz", "euler_ZYX")


def rotations() -> np.ndarray:
    """Random ones, and such of 0, pi, nearly pi, and in gimbal lock."""
    axes = np.concatenate([np.eye(3), -np.eye(3), [[0.6, 0.8, 0]]])
    border = [axes * angle for angle in (0.0, 1e-9, np.pi / 2, np.pi - 1e-7, np.pi)]
    return np.concatenate(
        [Rotation.random(200, random_state=0).as_matrix(), Rotation.from_rotvec(np.concatenate(border)).as_matrix()]
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_rotation_back(form):
    matrices = rotations()
    values = from_matrices(matrices, form)
    assert values.shape == (len(matrices), length(form))
    np.testing.assert_allclose(from_6d(to_6d(to_matrices(values, form))), matrices, atol=1e-7)


def test_forms_are_those_that_their_names_say():
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])[None]  # about z
    half = np.sqrt(0.5)
    np.testing.assert_allclose(from_matrices(quarter, "quaternion_wxyz"), [[half, 0, 0, half]], atol=1e-12)
    np.testing.assert_allclose(from_matrices(quarter, "quaternion_xyzw"), [[0, 0, half, half]], atol=1e-12)
    np.testing.assert_allclose(from_matrices(quarter, "axis_angle"), [[0, 0, np.pi / 2]], atol=1e-12)
    np.testing.assert_allclose(to_6d(quarter), [[0, 1, 0, -1, 0, 0]], atol=1e-12)
    angles = np.array([[0.1, 0.2, 0.3]])
    x, y, z = (Rotation.from_euler(axis, angle).as_matrix() for axis, angle in zip("xyz", angles[0], strict=True))
    np.testing.assert_allclose(to_matrices(angles, "euler_xyz")[0], z @ y @ x, atol=1e-12)
    np.testing.assert_allclose(to_matrices(angles, "euler_XYZ")[0], x @ y @ z, atol=1e-12)


def test_both_signs_of_a_quaternion_are_one_rotation():
    quaternions = from_matrices(rotations(), "quaternion_wxyz")
    np.testing.assert_allclose(
        to_6d(to_matrices(quaternions, "quaternion_wxyz")),
        to_6d(to_matrices(-quaternions, "quaternion_wxyz")),
        atol=1e-12,
    )
    assert (quaternions[:, 0] >= 0).all()


def test_quaternions_along_a_chunk_do_not_change_their_sign():
    angles = np.linspace(0.9 * np.pi, 1.1 * np.pi, 20)  # the scalar part passes through 0
    turning = np.stack([np.cos(angles / 2), 0 * angles, 0 * angles, np.sin(angles / 2)], axis=-1)
    flipped = turning * np.where(np.arange(20) % 3 == 0, -1, 1)[:, None]
    for start, wanted in ((None, -turning), (turning[0], turning), (-turning[0], -turning)):
        np.testing.assert_array_equal(continuous_quaternions(flipped, start), wanted)


@pytest.mark.parametrize("six", [[0] * 6, [1, 0, 0, 2, 0, 0], [3, 0, 0, 0, 1e-9, 0], [1e6, -2, 0.1, 5, 5, 5]])
def test_any_six_numbers_are_a_rotation(six):
    matrix = from_6d(np.float64(six))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_unknown_values_stay_unknown():
    rows = np.array([[0.1, 0.2, 0.3], [np.nan, 0, 0]])
    six = to_6d(to_matrices(rows, "axis_angle"))
    assert np.isnan(six[1]).all()
    np.testing.assert_allclose(from_matrices(from_6d(six), "axis_angle")[0], rows[0], atol=1e-12)
    assert np.isnan(from_matrices(from_6d(six), "axis_angle")[1]).all()


def test_a_quaternion_of_norm_zero_is_refused():
    with pytest.raises(ValueError, match="a quaternion has norm 0"):
        to_matrices(np.zeros((2, 4)), "quaternion_wxyz")


@pytest.mark.parametrize("name", ["quaternion", "euler_xxy", "euler_xyZ", "euler_xy", "euler_abc", "rotvec"])
def test_other_forms_are_refused(name):
    with pytest.raises(ValidationError, match="is not one of axis_angle, quaternion_wxyz, quaternion_xyzw and euler_"):
        TypeAdapter(RotationFormat).validate_python(name)
