"""The orientation that a video states: phones store frames as the sensor lies, with how to turn them."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import Float64, UInt8

Matrix = Float64[np.ndarray, "2 2"]
"""Column j: where the stored axis j (right, down) points in the displayed image."""


def display_matrix(frame: VideoFrame) -> Matrix | None:
    """The matrix that a decoded frame carries; None where it is displayed as it is stored."""
    stated: Any = frame.side_data.get("DISPLAYMATRIX")
    if stated is None:
        return None
    numbers = np.frombuffer(stated, np.int32)[:9].reshape(3, 3)
    matrix = numbers[:2, :2].T / 2**16
    return None if np.allclose(matrix, np.eye(2)) else matrix


def is_transposed(matrix: Matrix | None) -> bool:
    """Whether height and width change places."""
    return matrix is not None and bool(abs(matrix[1, 0]) > abs(matrix[0, 0]))


def upright(image: UInt8[np.ndarray, "H W 3"], matrix: Matrix | None) -> UInt8[np.ndarray, "_ _ 3"]:
    """The image as it is displayed, turned by the nearest multiple of 90 degrees, and mirrored where that is stated."""
    if matrix is None:
        return image
    if is_transposed(matrix):
        image, matrix = image.transpose(1, 0, 2), matrix[:, ::-1]
    across, down = np.sign(np.diag(matrix)).astype(int)
    return np.ascontiguousarray(image[:: down or 1, :: across or 1])
