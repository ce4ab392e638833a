"""Windows at and around the borders of episodes, against a reading of the definition frame by frame."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from wla.data.windows import subtask_window, window


def test_in_the_middle():
    place = window(np.array([105]), np.array([100]), np.array([120]), 4, 3)
    assert place.history.tolist() == [102]
    assert place.chunk.tolist() == [[105, 106, 107, 108]]
    assert place.subgoal.tolist() == [109]
    assert place.history_mask.all()
    assert place.chunk_mask.all()
    assert place.subgoal_mask.all()


def test_every_frame_of_random_episodes():
    rng = np.random.default_rng(0)
    for _ in range(200):
        start, length, n, h = (int(v) for v in rng.integers([0, 1, 1, 0], [50, 12, 10, 8]))
        end = start + length
        t = np.arange(start, end)
        places = window(t, start, end, n, h)
        for row, frame in enumerate(t):
            assert places.history[row] == max(frame - h, start)
            assert places.history_mask[row] == (frame - h >= start)
            assert places.chunk[row].tolist() == [min(frame + k, end - 1) for k in range(n)]
            assert places.chunk_mask[row].tolist() == [frame + k < end for k in range(n)]
            assert places.subgoal[row] == min(frame + n, end - 1)
            assert places.subgoal_mask[row] == (frame + n < end)


def test_many_at_once_are_those_one_by_one():
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
def test_frame_outside_of_its_episode(t):
    with pytest.raises(ValueError, match=f"frame {t} is outside of its episode, 5 <= frame < 10"):
        window(np.array([7, t]), 5, 10, 4, 0)


@pytest.mark.parametrize(("chunk", "history"), [(0, 0), (4, -1)])
def test_impossible_sizes(chunk, history):
    with pytest.raises(ValueError, match="chunk must be at least 1 and history at least 0"):
        window(np.array([0]), 0, 5, chunk, history)


SUBTASKS = np.array([0, 0, 0, 1, 1, 0, 2, 2, 3, 3])


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (0, 2, (0,)),
        (0, 3, (0, 1)),  # both ends count
        (2, 3, (0, 1)),
        (3, 6, (1, 0, 2)),  # a subtask that comes again is another span
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


def test_the_target_may_lie_elsewhere_and_before():
    t, start, end = np.array([100, 105, 118]), 100, 120
    for target, frames, inside in (
        (2, [102, 107, 119], [True, True, False]),
        (-4, [100, 101, 114], [False, True, True]),
        (np.array([1, -5, 0]), [101, 100, 118], [True, True, True]),
    ):
        place = window(t, start, end, 4, 0, target)
        assert place.subgoal.tolist() == frames
        assert place.subgoal_mask.tolist() == inside
        assert place.chunk.tolist() == window(t, start, end, 4, 0).chunk.tolist()
