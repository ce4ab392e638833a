from __future__ import annotations

import numpy as np
import pytest

from wla.policy.observation_history import append_frame, frames_kept, images_of
from wla.types import Observation, PolicyState


def image(step: int) -> np.ndarray:
    return np.full((4, 4, 3), step, np.uint8)


def seen(step: int) -> Observation:
    return Observation(images={"front": image(step), "wrist": image(100 + step)}, state=np.zeros(1, np.float32))


def after(steps: int, history: int) -> PolicyState:
    """The state after the steps 0 .. steps - 1."""
    state = PolicyState("go")
    for step in range(steps):
        state = append_frame(state, image(step), history)
    return state


def shown(name: str, now: int, history: int) -> int:
    (image,) = images_of(name, [seen(now)], [after(now, history)], history)
    return int(image[0, 0, 0])


@pytest.mark.parametrize("history", [1, 3])
def test_the_last_frames_and_the_first_one_are_kept(history):
    state = after(5, history)
    assert [int(frame[0, 0, 0]) for frame in state.frame_history] == list(range(5 - history, 5))
    assert state.first_frame[0, 0, 0] == 0


def test_without_a_history_only_the_first_frame_is_kept():
    state = after(5, 0)
    assert state.frame_history == ()
    assert state.first_frame[0, 0, 0] == 0


def test_a_state_is_not_changed():
    state = after(2, 3)
    frames = state.frame_history
    append_frame(state, image(9), 3)
    assert state.frame_history is frames


@pytest.mark.parametrize("history", [1, 3])
def test_the_image_of_the_past_is_as_old_as_asked_and_the_beginning_stands_in_before(history):
    assert [shown("history front", now, history) for now in range(6)] == [max(0, now - history) for now in range(6)]
    kept = 3 * history
    assert frames_kept(["front", "history3 front"], history) == kept
    found = [images_of("history3 front", [seen(now)], [after(now, kept)], history)[0][0, 0, 0] for now in range(12)]
    assert found == [max(0, now - 3 * history) for now in range(12)]
    assert [shown("first front", now, history) for now in range(6)] == [0] * 6
    assert [shown("front", now, history) for now in range(6)] == list(range(6))
    assert [shown("wrist", now, history) for now in range(6)] == [100 + now for now in range(6)]


def test_a_history_of_no_steps_is_the_present():
    assert shown("history front", 4, 0) == 4


def test_each_episode_of_a_batch_has_its_own_past():
    images = images_of("history front", [seen(0), seen(1), seen(7)], [after(0, 2), after(1, 2), after(7, 2)], 2)
    assert [int(image[0, 0, 0]) for image in images] == [0, 0, 5]
