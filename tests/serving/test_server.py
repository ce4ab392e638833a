"""The server: clients of openpi and of this package, together, and whatever else connects."""

from __future__ import annotations

import re
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from served import Teller, fields, observation, served
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from wla.serving import sessions
from wla.serving.client import RemotePolicy
from wla.serving.wire import pack, unpack


def ask(connection, **changes):
    connection.send(pack(fields(**changes)))
    answer = connection.recv(10)
    return answer if isinstance(answer, str) else unpack(answer)


def http(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address.replace("ws://", "http://") + path, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_client_of_openpi_gets_metadata_first_and_then_chunks() -> None:
    with served(Teller()) as address, connect(address, compression=None, max_size=None) as connection:
        hello = unpack(connection.recv(10))
        assert hello["observation"] == ["observation/image", "observation/wrist_image", "observation/state", "prompt"]
        assert hello["image_sizes"] == {"front": [32, 48], "wrist": [32, 48]}
        first, second = ask(connection, value=1.5), ask(connection, value=2.5)
    assert first["actions"].tolist() == [[1.5, 0]] * 4
    assert second["actions"].tolist() == [[2.5, 2]] * 4  # two of four were executed, as advised
    assert [first["wla/subtasks"], second["wla/memory"]] == [["step 0"], ["acted at 0", "acted at 2"]]
    assert "prev_total_ms" in second["server_timing"]
    # openpi's ActionChunkBroker slices every array of a reply by step.
    assert [name for name, value in second.items() if isinstance(value, np.ndarray)] == ["actions"]


def test_the_dialect_of_roboarena() -> None:
    with served(Teller()) as address, connect(address, compression=None) as connection:
        connection.recv(10)
        assert ask(connection, value=3, endpoint="infer", session_id="s").tolist() == [[3, 0]] * 4
        assert ask(connection, value=3, endpoint="infer", session_id="s").tolist() == [[3, 2]] * 4
        assert "reset" in ask(connection, endpoint="reset", session_id="s")
        assert ask(connection, value=3, endpoint="infer", session_id="s").tolist() == [[3, 0]] * 4
        assert "infer, reset or watch" in ask(connection, endpoint="stop")


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"\xc1", "0xc1"),
        ("text", "binary frames"),
        (pack(5), "a map"),
        (pack(fields(prompt="refuse")), "this is refused"),
        (pack(fields(prompt="fail")), "the policy failed: ZeroDivisionError: by zero"),
        (pack(fields(prompt="nan")), "not all finite"),
        (pack(fields(observation__state=np.zeros(2))), "has 2 numbers"),
        (pack(fields(observation__state=[1.0, [2.0], 3.0])), "observation/state is"),
    ],
)
def test_a_bad_request_is_one_line_of_text_and_the_connection_lives_on(sent: bytes | str, message: str) -> None:
    with served(Teller()) as address, connect(address, compression=None) as connection:
        connection.recv(10)
        connection.send(sent)
        answer = connection.recv(10)
        assert isinstance(answer, str)
        assert message in answer
        assert "\n" not in answer
        assert ask(connection, value=1)["actions"][0].tolist() == [1, 0]


def test_a_frame_that_is_too_large_closes_its_own_connection_only() -> None:
    with served(Teller()) as address, connect(address, compression=None) as other:
        other.recv(10)
        with connect(address, compression=None) as connection:
            connection.recv(10)
            connection.send(bytes(33 * 2**20))
            with pytest.raises(ConnectionClosed):
                connection.recv(10)
        assert ask(other)["wla/prediction_id"] == 1


def test_plain_requests() -> None:
    with served(Teller()) as address:
        assert http(address, "/healthz") == (200, "OK\n")
        assert http(address, "/")[0] == 426
        with connect(address, compression=None) as connection:
            connection.recv(10)
            ask(connection)
            text = http(address, "/metrics")[1]
        assert "wla_predictions 1.0" in text
        assert "wla_connections 1.0" in text


def test_a_token_is_asked_for() -> None:
    with served(Teller(), token="secret") as address:
        assert http(address, "/healthz")[0] == 200
        assert http(address, "/metrics")[0] == 401
        with pytest.raises(ConnectionError, match="refused"):
            RemotePolicy(address, token="wrong")
        policy = RemotePolicy(address, token="secret")
        assert len(policy.act(observation(), policy.reset("go"))[0].actions) == 4
        policy.close()


@pytest.mark.parametrize("token", ["secret\n", "sec\r\nX: ret", " secret", "s\u20acret", "secret\0"])
def test_a_token_that_cannot_be_sent_is_not_shown(token: str) -> None:
    with pytest.raises(ValueError, match="WLA_TOKEN has a line break") as refused:
        RemotePolicy("ws://127.0.0.1:9", token=token)
    assert "ret" not in str(refused.value)


def test_web_pages_drive_nothing() -> None:
    with served(Teller()) as address:
        for origin in ("http://evil.example", "http://127.0.0.1:8000", "null"):
            with pytest.raises(InvalidStatus, match="403"), connect(address, origin=origin, compression=None):
                pass


class Slow(Teller):
    """A call takes a while, however many rows it has."""

    def act_batch(self, observations, states, **options):
        time.sleep(0.05)
        return super().act_batch(observations, states, **options)


def test_clients_that_ask_together_are_computed_together() -> None:
    policy = Slow()
    with served(policy) as address:
        clients = [RemotePolicy(address) for _ in range(6)]

        def episode(client: RemotePolicy) -> list[int]:
            state, steps = client.reset("go"), []
            for _ in range(5):
                chunk, state = client.act(observation(), state)
                steps.append(int(chunk.actions[0, 1]))
            return steps

        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(episode, clients)) == [[0, 1, 2, 3, 4]] * 6
        for client in clients:
            client.close()
    assert sum(policy.batches) == 30
    assert len(policy.batches) < 20


def test_a_row_that_fails_fails_alone() -> None:
    policy = Slow()
    with served(policy) as address:
        clients = [RemotePolicy(address) for _ in range(4)]

        def answer(client: RemotePolicy, instruction: str) -> str:
            try:
                return str(len(client.act(observation(), client.reset(instruction))[0].actions))
            except ValueError as error:
                return str(error)

        with ThreadPoolExecutor(4) as pool:
            first, second, third, fourth = pool.map(answer, clients, ["go", "fail", "refuse", "go"])
        for client in clients:
            client.close()
    assert (first, fourth) == ("4", "4")
    assert "ZeroDivisionError" in second
    assert "this is refused" in third


def test_a_client_that_never_reads_delays_nobody() -> None:
    with served(Teller()) as address, ExitStack() as stalled:
        for _ in range(20):
            stalled.enter_context(connect(address, compression=None)).send(pack(fields()))
        policy = RemotePolicy(address, timeout_s=5.0)
        state = policy.reset("go")
        for _ in range(10):
            _, state = policy.act(observation(), state)
        policy.close()


def test_a_connection_that_breaks_is_made_again_and_the_episode_goes_on() -> None:
    with served(Teller()) as address:
        policy = RemotePolicy(address)
        _, state = policy.act(observation(), policy.reset("go"))
        policy._connections[0].socket.close()
        chunk, _ = policy.act(observation(), policy.observe(observation(), state))
        policy.close()
    assert chunk.actions[0, 1] == 2


def test_a_server_that_began_anew_goes_on_with_no_episode_of_before() -> None:
    with served(Teller()) as first:
        policy = RemotePolicy(first)
        _, state = policy.act(observation(), policy.reset("go"))
    with served(Teller()) as second:
        policy.url = second
        with pytest.raises(ValueError, match="prediction 1 was not made here: the server began anew"):
            policy.act(observation(), state)
        assert len(policy.act(observation(), policy.reset("go"))[0].actions) == 4
    other = Teller()
    other.checkpoint_sha256 = "def"
    with served(other) as third:
        policy.url = third
        with pytest.raises(ValueError, match=r"serves another policy by now .checkpoint_sha256 differs."):
            policy.act(observation(), policy.reset("go"))
    policy.close()


def test_remote_answers_are_those_of_the_policy() -> None:
    policy = Teller()
    with served(policy) as address:
        remote = RemotePolicy(address)
        assert (remote.robot_spec, remote.checkpoint_sha256) == (policy.robot_spec, "abc")
        state, here = remote.reset("go", seed=3), policy.reset("go", seed=3)
        for executed in (4, 1, 3):
            chunk, state = remote.act(observation(executed), state, imagine=True)
            expected, here = policy.act(observation(executed), here, imagine=True)
            np.testing.assert_array_equal(chunk.actions, expected.actions)
            np.testing.assert_array_equal(chunk.subgoal, expected.subgoal)
            assert (chunk.subtasks, chunk.replan_steps) == (expected.subtasks, expected.replan_steps)
            assert state.memory == here.memory
            for _ in range(executed - 1):
                state, here = remote.observe(observation(), state), policy.observe(observation(), here)
        both = remote.act_batch([observation(1), observation(2)], [remote.reset("a"), remote.reset("b")])
        assert [chunk.actions[0, 0] for chunk, _ in both] == [1, 2]
        with pytest.raises(ValueError, match="does not take noise"):
            remote.act(observation(), state, noise=1)
        remote.close()


class Continuing(Teller):
    """Its actions are those that it continues."""

    def act_batch(self, observations, states, *, prefix=None, delay=None, **options):
        answers = super().act_batch(observations, states, **options)
        if prefix is None:
            return answers
        return [
            (replace(chunk, actions=row + delay), after) for (chunk, after), row in zip(answers, prefix, strict=True)
        ]


def test_a_remote_policy_continues_chunks_alone_in_their_batch() -> None:
    policy = Continuing()
    with served(policy, batch_window_s=0.1) as address:
        remote = RemotePolicy(address)
        states = [remote.reset("go", seed=index) for index in range(3)]
        prefix = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
        answers = remote.act_batch([observation()] * 3, states, prefix=prefix, delay=1)
        np.testing.assert_array_equal([chunk.actions for chunk, _ in answers], prefix + 1)
        with pytest.raises(ValueError, match="wla/prefix has 3 dimensions, the robot's actions 2"):
            remote.act(observation(), states[0], prefix=np.zeros((1, 3), np.float32))
        remote.close()
    assert policy.batches == [1, 1, 1]


class Looking(Teller):
    """Its actions are the number of images that it saw, and the first pixel of the last one."""

    reads_past_images = True

    def _act(self, observation, state, **options):
        seen = (*state.frame_history, observation.images["front"])
        chunk, after = super()._act(observation, state, **options)
        actions = np.tile(np.array([len(seen), seen[-2][0, 0, 0] if len(seen) > 1 else 0], np.float32), (4, 1))
        return replace(chunk, actions=actions), after

    def observe(self, observation, state):
        seen = (*state.frame_history, observation.images["front"])
        return replace(super().observe(observation, state), frame_history=seen)


def test_a_remote_policy_sees_the_images_between_its_calls() -> None:
    policy = Looking()
    with served(policy) as address:
        remote = RemotePolicy(address)
        there, here = remote.reset("go"), policy.reset("go")
        for step in range(0, 9, 3):
            frames = [np.full((32, 48, 3), step + offset, np.uint8) for offset in range(3)]
            seen = [replace(observation(), images={"front": frame, "wrist": frame}) for frame in frames]
            chunk, there = remote.act(seen[0], there)
            expected, here = policy.act(seen[0], here)
            np.testing.assert_array_equal(chunk.actions, expected.actions)
            for each in seen[1:]:
                there, here = remote.observe(each, there), policy.observe(each, here)
        remote.close()


def test_no_server_is_one_line() -> None:
    with pytest.raises(ConnectionError, match="no policy server answers"):
        RemotePolicy("ws://127.0.0.1:9")
    for address in ("ws://", "ws://127.0.0.1:99999", "ws://[::1"):
        with pytest.raises(ValueError, match=rf"{re.escape(address)}: is no address"):
            RemotePolicy(address)


def test_old_sessions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    with served(Teller()) as address, connect(address, compression=None) as connection:
        connection.recv(10)
        step = {name: ask(connection, session_id=name)["actions"][0, 1] for name in "abca"}
        assert step == {"a": 0, "b": 0, "c": 0}  # the second "a" began again
        monkeypatch.setattr(sessions, "SESSION_S", 0.0)
        ask(connection, session_id="d")
        assert ask(connection, session_id="a")["actions"][0, 1] == 0


def test_sessions_of_many_threads_do_not_mix() -> None:
    with served(Teller()) as address:
        policy = RemotePolicy(address)
        states = [policy.reset("go", seed=index) for index in range(8)]
        for step in range(3):
            answers = policy.act_batch([observation(index) for index in range(8)], states)
            assert [chunk.actions[0].tolist() for chunk, _ in answers] == [[index, step] for index in range(8)]
            states = [replace(state) for _, state in answers]
        policy.close()
    assert threading.active_count() < 20
