"""Sessions: the policy's state is that of a policy that was fed the executed steps alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from served import Teller, fields, observation

from wla.serving.requests import Request, RequestReader
from wla.serving.session import Session
from wla.serving.wire import WireError

POLICY = Teller()
READER = RequestReader(POLICY.robot_spec.observation)


def request(**changes: object) -> Request:
    return READER.read(fields(**changes))


def predict(session: Session, **changes: object) -> tuple[int, object]:
    """The identity of the next prediction, and the state in which it was made."""
    asked = request(**changes)
    state = session.prepare(asked)
    chunk, after = POLICY.act(asked.observation, state)
    return session.predicted(asked, chunk, after).id, state


def commit(prediction_id: int, executed: int) -> dict[str, int]:
    return {"prediction_id": prediction_id, "executed": executed}


def reference(executed: list[int]) -> object:
    """The state of a policy after chunks, given the number of executed actions of each."""
    state = POLICY.reset("go", seed=0)
    for count in executed:
        _, state = POLICY.act(observation(), state)
        for _ in range(count - 1):
            state = POLICY.observe(observation(), state)
    return state


def test_without_a_word_the_advised_actions_count_as_executed() -> None:
    session = Session(POLICY)
    states = [predict(session)[1] for _ in range(3)]
    assert states == [reference([]), reference([2]), reference([2, 2])]


def test_memory_advances_with_executed_actions_only() -> None:
    rng = np.random.default_rng(0)
    session, executed = Session(POLICY), []
    number, _ = predict(session)
    for _ in range(60):
        count = int(rng.integers(-1, 5))
        if count > 0:
            executed.append(count)
        settled = {"wla__discard": number} if count < 0 else {"wla__commit": commit(number, count)}
        number, state = predict(session, **settled)
        assert state == reference(executed)
    assert 0 < len(executed) < 60


class Historian(Teller):
    """Remembers the first pixel of every step's primary image."""

    reads_past_images = True

    def observe(self, observation, state):
        seen = super().observe(observation, state)
        return replace(seen, subtasks=(*seen.subtasks, str(observation.images["front"][0, 0, 0])))


def test_images_between_two_requests_are_seen_where_they_are_sent() -> None:
    policy = Historian()
    session = Session(policy)

    def ask(value: int, **changes: object) -> tuple[str, ...]:
        asked = request(observation__image=np.full((32, 48, 3), value, np.uint8), **changes)
        state = session.prepare(asked)
        chunk, after = policy.act(asked.observation, state)
        session.predicted(asked, chunk, after)
        return state.subtasks

    ask(10)
    past = np.stack([np.full((32, 48, 3), value, np.uint8) for value in (11, 12)])
    assert ask(13, wla__commit=commit(1, 3), wla__past_images=past)[-3:] == ("10", "11", "12")
    assert ask(16, wla__commit=commit(2, 3))[-3:] == ("13", "13", "13")
    with pytest.raises(WireError, match="2 images, 2 actions were executed; send 1"):
        ask(17, wla__commit=commit(3, 2), wla__past_images=past)


def test_another_prompt_or_a_reset_begins_another_episode() -> None:
    session = Session(POLICY)
    predict(session)
    assert predict(session, prompt="stop", wla__seed=4)[1] == POLICY.reset("stop", seed=4)
    assert predict(session, prompt="stop")[1] != POLICY.reset("stop")
    session.reset()
    assert predict(session, prompt="stop")[1] == POLICY.reset("stop")


def test_a_request_that_is_repeated_after_a_lost_reply_is_answered_the_same() -> None:
    session = Session(POLICY)
    first, _ = predict(session)
    _, lost = predict(session, wla__commit=commit(first, 3))
    again, state = predict(session, wla__commit=commit(first, 3))
    assert state == lost == reference([3])
    assert predict(session, wla__commit=commit(again, 1))[1] == reference([3, 1])


@pytest.mark.parametrize("settled", [{"wla__commit": commit(9, 1)}, {"wla__discard": 9}])
def test_a_prediction_that_is_not_pending_is_refused_and_changes_nothing(settled: dict[str, object]) -> None:
    session = Session(POLICY)
    number, _ = predict(session)
    with pytest.raises(WireError, match="prediction 9 is not pending, 1 is"):
        session.prepare(request(**settled))
    assert predict(session, wla__commit=commit(number, 2))[1] == reference([2])


def test_more_actions_than_there_were_are_refused() -> None:
    session = Session(POLICY)
    number, _ = predict(session)
    with pytest.raises(WireError, match="has 4 actions, not 5"):
        session.prepare(request(wla__commit=commit(number, 5)))


def test_memory_is_edited() -> None:
    session = Session(POLICY)
    predict(session)
    _, state = predict(session, wla__memory=["found the key"])
    assert [item.text for item in state.memory] == ["found the key"]


def test_a_chunk_that_came_too_late_leaves_what_was_executed_instead() -> None:
    session = Session(POLICY)
    first, _ = predict(session)
    predict(session, wla__commit=commit(first, 2))  # nothing of this one is executed, but two more actions of the first
    late, state = predict(session, wla__commit=commit(first, 4))
    assert state == reference([4])
    assert predict(session, wla__commit=commit(late, 1))[1] == reference([4, 1])


def test_the_first_chunk_may_be_discarded_and_the_first_request_repeated() -> None:
    session = Session(POLICY)
    for _ in range(3):
        number, state = predict(session, wla__commit=commit(0, 0))
        assert state == reference([])
    assert predict(session, wla__commit=commit(number, 2))[1] == reference([2])


@pytest.mark.parametrize("executed", [0, 3])
def test_steps_at_which_a_person_moved_the_robot_are_seen(executed: int) -> None:
    session = Session(POLICY)
    number, _ = predict(session)
    taken = {"prediction_id": number, "executed": executed, "taken_over": 20}
    assert predict(session, wla__commit=taken)[1] == reference([executed + 20])
    session.reset()
    predict(session)
    assert predict(session, wla__commit={"prediction_id": 0, "executed": 0, "taken_over": 2})[1].env_step == 2
