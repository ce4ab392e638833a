"""Windows at and around the boundaries of episodes, against the definition frame by frame."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from wla.data.windows import subtask_window, window


def test_a_window_inside_its_episode_is_not_clamped():
    inside = window(np.array([105]), np.array([100]), np.array([120]), 4, 3)
    assert inside.chunk.tolist() == [[105, 106, 107, 108]]
    assert inside.subgoal.tolist() == [109]
    assert inside.history_mask.all()
    assert inside.chunk_mask.all()
    assert inside.subgoal_mask.all()


def test_windows_at_every_frame_of_random_episodes_match_the_definition():
    rng = np.random.default_rng(0)
    for _ in range(200):
        start, length, n, h = (int(v) for v in rng.integers([0, 1, 1, 0], [50, 12, 10, 8]))
        end = start + length
        t = np.arange(start, end)
        windows = window(t, start, end, n, h)
        for row, frame in enumerate(t):
            assert windows.history_mask[row] == (frame - h >= start)
            assert windows.chunk[row].tolist() == [min(frame + k, end - 1) for k in range(n)]
            assert windows.chunk_mask[row].tolist() == [frame + k < end for k in range(n)]
            assert windows.subgoal[row] == min(frame + n, end - 1)
            assert windows.subgoal_mask[row] == (frame + n < end)


def test_windows_of_many_episodes_equal_those_computed_one_by_one():
    rng = np.random.default_rng(1)
    start = rng.integers(0, 100, 50)
    end = start + rng.integers(1, 20, 50)
    t = rng.integers(start, end)
    together = asdict(window(t, start, end, 6, 2))
    for row in range(50):
        alone = asdict(window(t[[row]], int(start[row]), int(end[row]), 6, 2))
        for name, values in alone.items():
            np.testing.assert_array_equal(values[0], together[name][row])


@pytest.mark.parametrize("t", [4, 10])
def test_a_frame_outside_its_episode_is_refused(t):
    with pytest.raises(ValueError, match=f"frame {t} is outside its episode, 5 <= frame < 10"):
        window(np.array([7, t]), 5, 10, 4, 0)


@pytest.mark.parametrize(("chunk", "history"), [(0, 0), (4, -1)])
def test_impossible_sizes_are_refused(chunk, history):
    with pytest.raises(ValueError, match="chunk must be at least 1 and history at least 0"):
        window(np.array([0]), 0, 5, chunk, history)


SUBTASKS = np.array([0, 0, 0, 1, 1, 0, 2, 2, 3, 3])


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 2, (0,)),
        (0, 3, (0, 1)),  # both ends are included
        (2, 3, (0, 1)),
        (3, 6, (1, 0, 2)),  # a repeated subtask is a new span
        (0, 9, (0, 1, 0, 2, 3)),
        (6, 9, (2, 3)),
        (7, 7, (2,)),
        (5, 4, ()),
        (0, -1, ()),
    ],
)
def test_subtask_window(first, last, expected):
    assert subtask_window(SUBTASKS, first, last) == expected


def test_frames_without_subtask_are_skipped():
    subtasks = np.array([-1, -1, 0, -1, 0, 1])
    assert subtask_window(subtasks, 0, 5) == (0, 1)
    assert subtask_window(subtasks, 0, 1) == ()


def test_the_subgoal_may_be_at_another_offset_or_in_the_past():
    t, start, end = np.array([100, 105, 118]), 100, 120
    for offset, frames, mask in (
        (2, [102, 107, 119], [True, True, False]),
        (-4, [100, 101, 114], [False, True, True]),
        (np.array([1, -5, 0]), [101, 100, 118], [True, True, True]),
    ):
        shifted = window(t, start, end, 4, 0, offset)
        assert shifted.subgoal.tolist() == frames
        assert shifted.subgoal_mask.tolist() == mask
        assert shifted.chunk.tolist() == window(t, start, end, 4, 0).chunk.tolist()
