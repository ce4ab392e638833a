from __future__ import annotations

import numpy as np

from wla.training.grounding.questions import in_state_units


def test_positions_share_the_range_of_the_state() -> None:
    center, radius = np.array([0.5, 0.0, 0.2]), np.array([0.5, 0.4, 0.2])
    assert in_state_units((1.0, -0.4, 0.2), center, radius) == (1.0, -1.0, 0.0)


def test_a_robot_in_the_plane_has_no_height() -> None:
    assert in_state_units((512.0, 0.0, 9.0), np.array([256.0, 256.0]), np.array([256.0, 256.0])) == (1.0, -1.0, 0.0)
