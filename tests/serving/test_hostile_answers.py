"""A server that answers anything at all: its client says so in one line, and its robot is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from served import Teller, observation
from websockets.sync.server import ServerConnection, serve

from wla.serving.client import RemotePolicy
from wla.serving.replies import metadata
from wla.serving.watch.remote_stops import remote_stops
from wla.serving.wire import pack, unpack

GOOD: dict[str, Any] = {
    "actions": np.zeros((4, 2), np.float32),
    "wla/prediction_id": 1,
    "wla/replan_steps": 2,
    "wla/subtasks": ["reach"],
    "wla/memory": ["press"],
    "wla/memory_steps": [[0, 3]],
}


@contextmanager
def answering(answer: Callable[[Any], bytes | str]) -> Iterator[str]:
    """The address of a server that greets as a policy's, and answers so."""

    def talk(connection: ServerConnection) -> None:
        connection.send(pack(metadata(Teller(), "teller", ("observation/image",))))
        for frame in connection:
            connection.send(answer(unpack(frame)))

    with serve(talk, "127.0.0.1", 0, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"\xc1", pack(5), pack([1, 2]), pack({})),
        *(pack({**GOOD, "actions": value}) for value in (np.zeros((4, 3)), np.zeros(2), np.zeros((0, 2)), "x", None)),
        *(pack({**GOOD, "actions": np.full((4, 2), value)}) for value in (np.nan, 1e300)),
        *(pack({**GOOD, "wla/replan_steps": value}) for value in (0, 5, float("inf"), "x")),
        *(pack({**GOOD, "wla/subtasks": value}) for value in ("text", [1], None)),
        *(pack({**GOOD, "wla/memory": value}) for value in (["a", "b"], [5])),
        *(pack({**GOOD, "wla/subgoal": value}) for value in (b"no image", 5)),
    ],
)
def test_an_answer_that_is_no_chunk_is_one_line(answer: bytes) -> None:
    with answering(lambda request: answer) as address:
        policy = RemotePolicy(address)
        with pytest.raises(ValueError, match="an answer that is no action chunk") as refused:
            policy.act(observation(), policy.reset("go"))
        assert str(refused.value).startswith(address)
        assert str(refused.value).isprintable()
        policy.close()


def test_a_server_whose_stops_cannot_be_followed_is_not_driven_with() -> None:
    with answering(lambda request: "no") as address:
        policy = RemotePolicy(address)
        reasons: list[str] = []
        with pytest.raises(ValueError, match="cannot be watched"), remote_stops(policy, reasons.append):
            pytest.fail("it is driven with")
        policy.close()


@pytest.mark.parametrize("answer", [b"\xc1", pack([1]), pack({"name": [1], "stopped": 5, "sessions": 1})[:-1]])
def test_a_robot_is_stopped_when_stops_can_no_longer_be_followed(answer: bytes) -> None:
    with answering(lambda request: answer) as address:
        policy = RemotePolicy(address)
        reasons: list[str] = []
        stopped = threading.Event()
        with remote_stops(policy, lambda reason: (reasons.append(reason), stopped.set())[1]):
            assert stopped.wait(10)
        assert "stops can no longer be followed" in reasons[0]
        policy.close()
