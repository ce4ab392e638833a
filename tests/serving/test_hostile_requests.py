"""Every field of a request with every wrong value: it is answered, or refused in one line, and the connection lives."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from aloha import AlohaTeller, sent
from hostile import TEXTS
from served import Teller, fields, served
from test_mutated_datasets import places, replaced
from websockets.sync.client import connect
from xpolicylab_driver import Driver

from wla.serving.requests import OPTIONS
from wla.serving.wire import WireError, pack, unpack
from wla.serving.xpolicylab.convention import RoboTwinConvention
from wla.types import PolicyState

VALUES: list[Any] = [
    *(None, True, -1, 2**63, 1.5, float("nan"), "", "x", "x" * 5000, b"\xff", [], [[1], [1, 2]], ["a"], [None]),
    *({}, {"a": 1}, {"front": 1}, {"prediction_id": 1, "executed": np.array([1, 2])}),
    *(np.zeros(0), np.zeros(3), np.zeros((0, 0, 3), np.uint8), np.full((32, 48, 3), np.nan), np.full((2, 2), 1e300)),
    *(np.zeros((3, 3, 3), np.uint8), np.array(3), np.float32(2), np.full((2, 8, 8, 3), 9, np.uint8)),
    *(TEXTS[name] for name in ("newlines", "line separator", "null", "right to left")),
]
NAMES = [*fields(), *OPTIONS, "endpoint", "session_id", "state", "images", "observation/joint_position", "other"]


def assert_a_line(answer: str) -> None:
    assert answer.isprintable(), answer
    assert len(answer) < 600
    assert "failed" not in answer, answer  # each was foreseen


def test_no_field_of_a_request_breaks_the_connection() -> None:
    with served(Teller()) as address, connect(address, compression=None) as connection:
        connection.recv(10)
        for name, value in itertools.product(NAMES, VALUES):
            if (name, value if isinstance(value, str) else "") == ("endpoint", "watch") or name == "wla/prefix":
                continue  # the teller takes any prefix
            connection.send(pack({**fields(), name: value}))
            answer = connection.recv(10)
            if isinstance(answer, str):
                assert_a_line(answer)
            else:
                unpack(answer)


def test_no_field_of_robotwin_s_requests_breaks_the_connection() -> None:
    case = {"seed": 1, "instruction": "press", "action_type": "joint"}
    with served(AlohaTeller(), protocol="xpolicylab") as address:
        driver = Driver(address)
        driver.reset(**case)
        requests = [("reset", {**case, "trial_id": "trial"}), ("infer", {"observation": sent(0.5)})]
        frames = [driver.frame(kind, payload) for kind, payload in requests]
        for frame in frames:
            for number, path in enumerate(path for path in places(frame) if not isinstance(path[-1], int)):
                for value in VALUES[number % 4 :: 4] if len(path) > 3 else VALUES:
                    answer = driver.exchange(msgpack.packb(replaced(frame, path, value), default=msgpack_numpy.encode))
                    if answer["message_type"] == "error":
                        assert_a_line(answer["payload"]["message"])
        driver.reset(**case)
        assert driver.infer(sent(0.5))[0] == "infer_result"
        driver.close()


class Broken(Teller):
    """Answers fewer observations than it is asked, or fails where no answer is computed."""

    def act_batch(self, observations, states, **options):
        if states[0].instruction == "none":
            return []
        return super().act_batch(observations, states, **options)

    def observe(self, observation, state: PolicyState) -> PolicyState:
        if state.instruction == "count" and state.env_step == 1:
            raise KeyError("no such step")
        return super().observe(observation, state)

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        if instruction == "begin":
            raise RuntimeError("out of\nmemory")
        return super().reset(instruction, seed=seed)


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with served(Broken()) as address:
        yield address


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["none"], "the policy failed: TypeError: 0 answers to 1 observations"),
        (["count", "count"], "the request failed: KeyError: 'no such step'"),
        (["begin"], "the request failed: RuntimeError: out of memory"),
    ],
)
def test_a_policy_that_fails_anywhere_is_a_line_and_the_server_lives_on(broken: str, prompts, message) -> None:
    with connect(broken, compression=None) as connection, connect(broken, compression=None) as other:
        connection.recv(10)
        other.recv(10)
        for prompt in prompts:
            connection.send(pack(fields(prompt=prompt)))
            answer = connection.recv(10)
        assert answer == message
        for each in (connection, other):
            each.send(pack(fields()))
            assert unpack(each.recv(10))["actions"].shape == (4, 2)


@pytest.mark.parametrize("name", ["x" * 10_000, 5, np.zeros(3), " "])
def test_a_session_that_is_reset_has_a_name_like_any_other(broken: str, name: object) -> None:
    with connect(broken, compression=None) as connection:
        connection.recv(10)
        connection.send(pack({"endpoint": "reset", "session_id": name}))
        answer = connection.recv(10)
        assert answer.startswith("session_id ")


def test_numbers_that_a_float_cannot_hold_are_not_finite() -> None:
    with pytest.raises(WireError, match="left_arm_joint_state' is not 6 finite numbers"):
        RoboTwinConvention(AlohaTeller().robot_spec).observation(sent(left_arm_joint_state=np.full(6, 1e300)))
