"""Stops of a served policy reach the robot at once, and its client as what they are."""

from __future__ import annotations

import threading

import pytest
from served import Teller, observation, served
from test_observers import command, until, watching

from wla.control.safety import EmergencyStop
from wla.serving.client import RemotePolicy
from wla.serving.watch.remote_stops import _Stops, remote_stops


def test_a_stop_by_an_observer_reaches_the_robot_that_is_meant() -> None:
    with served(Teller()) as address, watching(address) as observer:
        policy, other = RemotePolicy(address), RemotePolicy(address)
        reasons: list[str] = []
        stopped = threading.Event()
        state = policy.act(observation(), policy.reset("go"))[1]
        later = other.act(observation(), other.reset("go"))[1]
        others: list[str] = []
        with (
            remote_stops(other, others.append),
            remote_stops(policy, lambda reason: (reasons.append(reason), stopped.set())[1]),
        ):
            command(observer, "stop", 1, reason="a person at the fence")
            assert stopped.wait(5)
        until(observer, session=1, stopped="a person at the fence")
        with pytest.raises(EmergencyStop, match="stopped: a person at the fence"):
            policy.act(observation(), state)
        assert len(other.act(observation(), later)[0].actions) == 4
        assert (reasons, others) == (["a person at the fence"], [])
        policy.close()
        other.close()


def test_a_stop_that_several_frames_show_is_one_stop() -> None:
    reasons: list[str] = []
    listener = _Stops("robot", reasons.append, threading.Event())
    for name, stopped in (
        ("robot-1", None),
        ("robot-1", "smoke"),
        ("other-1", "fire"),
        ("robot-1", "smoke"),
        ("robot-2", "smoke"),
        ("robot-1", None),
        ("robot-1", "smoke"),
    ):
        listener.received({"name": name, "stopped": stopped})
    assert reasons == ["smoke"] * 3  # of both sessions, and again after a release


def test_a_server_that_cannot_be_watched_is_not_driven_with(monkeypatch: pytest.MonkeyPatch) -> None:
    # A server of before there were observers answers that it knows no such endpoint.
    monkeypatch.setattr("wla.serving.openpi._opened", lambda frame: ("other", {}))
    with served(Teller()) as address:
        policy = RemotePolicy(address)
        with pytest.raises(ValueError, match="cannot be watched"), remote_stops(policy, print):
            pass
        policy.close()
