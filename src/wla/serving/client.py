"""A policy behind a websocket: reset, act and observe like any other. Needs neither torch nor a simulator."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import ValidationError
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.sync.client import ClientConnection, connect

from wla.control.safety import EmergencyStop
from wla.data.images import decode_image
from wla.foreign import one_line
from wla.serving.requests import MAX_PAST_IMAGES
from wla.serving.wire import MAX_FRAME_BYTES, STOPPED, WireError, pack, require_token, unpack
from wla.specs import RobotSpec
from wla.types import ActionChunk, BasePolicy, MemoryItem, Observation, PolicyState

TOKEN_VARIABLE = "WLA_TOKEN"


@dataclass(frozen=True)
class RemoteState(PolicyState):
    """An episode whose state a server keeps; memory and subtasks are those of its last reply.

    pending: the last prediction's identity; 0 before the first. length: of its chunk. executed: control steps since.
    past_images: of the primary camera since the last call, where the policy reads them.
    """

    session_id: str = ""
    pending: int = 0
    length: int = 0
    executed: int = 0
    past_images: tuple[UInt8[np.ndarray, "H W 3"], ...] = ()


class RemotePolicy(BasePolicy[RemoteState]):
    """A policy that `wla serve` serves.

    A connection that breaks is made again, and the request repeated: the server answers it as if it had come once. One
    that began anew meanwhile refuses an episode of before, and one with another policy is refused.
    client: begins the names of its sessions. action_limits: the lowest and the highest actions that are executed, for
    those who watch; None where nobody limits them.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout_s: float = 60.0) -> None:
        """url: ws://HOST:PORT or wss://HOST:PORT. token: that of WLA_TOKEN when left out. timeout_s: for a reply.

        ConnectionError when nothing answers there; ValueError when it is no server of this package.
        """
        self.url, self._timeout = url, timeout_s
        self.client = uuid.uuid4().hex
        self.action_limits: Float32[np.ndarray, "2 A"] | None = None
        self._headers = headers(token)
        self._connections: list[ClientConnection] = []
        first, self.metadata = self._opened()
        self._connections.append(first)
        try:
            self.robot_spec = RobotSpec.model_validate(self.metadata["robot"])
            self.checkpoint_sha256 = self.metadata["checkpoint_sha256"]
            self._names = list(self.metadata["observation"])
        except (KeyError, TypeError, ValidationError) as error:
            raise ValueError(f"{url}: does not say which robot it is for; serve it with `wla serve`") from error

    def reset(self, instruction: str, *, seed: int = 0) -> RemoteState:
        return RemoteState(instruction, seed, session_id=f"{self.client}/{uuid.uuid4().hex}")

    def act(self, observation: Observation, state: RemoteState, **options: Any) -> tuple[ActionChunk, RemoteState]:
        """The next chunk and the state for the next call. options: those of `Policy.act`."""
        fields = self._request(observation, state, options)
        frame = self._ask(fields)
        try:
            answer = unpack(frame)
            chunk = _chunk(answer, self.robot_spec.action.dim)
            items = zip(_texts(answer.get("wla/memory", ())), answer.get("wla/memory_steps", ()), strict=True)
            memory = tuple(MemoryItem(text, *map(int, steps)) for text, steps in items)
            pending = int(answer["wla/prediction_id"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(f"{self.url}: an answer that is no action chunk ({one_line(error)})") from error
        answered = replace(state, pending=pending, length=len(chunk.actions), executed=1, past_images=())
        answered = replace(answered, memory=memory, subtasks=chunk.subtasks)
        return chunk, replace(answered, num_calls=state.num_calls + 1, env_step=state.env_step + 1)

    def act_batch(
        self,
        observations: Sequence[Observation],
        states: Sequence[RemoteState],
        *,
        prefix: Float32[np.ndarray, "B p A"] | None = None,
        **options: Any,
    ) -> list[tuple[ActionChunk, RemoteState]]:
        """The answers of several episodes, asked for at once: the server computes them in a batch."""
        rows = [options] * len(states) if prefix is None else [{**options, "prefix": own} for own in prefix]
        with ThreadPoolExecutor(max(1, len(states))) as pool:
            calls = zip(observations, states, rows, strict=True)
            return list(pool.map(lambda each: self.act(each[0], each[1], **each[2]), calls))

    def observe(self, observation: Observation, state: RemoteState) -> RemoteState:
        seen = state.past_images
        if self.metadata.get("reads_past_images"):
            seen = (*seen, observation.images[self.robot_spec.observation.primary_camera])[-MAX_PAST_IMAGES:]
        return replace(state, executed=state.executed + 1, past_images=seen, env_step=state.env_step + 1)

    def close(self) -> None:
        """Closes its connections."""
        while self._connections:
            self._connections.pop().close()

    def _request(self, observation: Observation, state: RemoteState, options: Mapping[str, Any]) -> dict[str, Any]:
        unknown = {name for name, value in options.items() if value is not None} - {
            "imagine",
            "flow_steps",
            "prefix",
            "delay",
        }
        if unknown:
            raise ValueError(f"{self.url}: a remote policy does not take {', '.join(sorted(unknown))}")
        images = [observation.images[camera] for camera in self.robot_spec.observation.cameras]
        fields: dict[str, Any] = dict(zip(self._names, images, strict=False))
        if self.robot_spec.observation.state_dim:
            fields["observation/state"] = observation.state
        fields |= {"prompt": state.instruction, "wla/session_id": state.session_id, "wla/seed": state.seed}
        # Whatever the server predicted since was discarded here, or its reply was lost: the commit names what is known.
        executed = min(state.executed, state.length)
        fields["wla/commit"] = {"prediction_id": state.pending, "executed": executed}
        if state.executed > executed:  # longer than the chunk, somebody else moved the robot
            fields["wla/commit"]["taken_over"] = state.executed - executed
        if state.past_images:
            fields["wla/past_images"] = np.stack(state.past_images)
        if self.action_limits is not None:
            fields["wla/limits"] = self.action_limits
        if options.get("imagine"):
            fields["wla/imagine"] = True
        if options.get("flow_steps") is not None:
            fields["wla/flow_steps"] = options["flow_steps"]
        if options.get("prefix") is not None:
            fields["wla/prefix"] = options["prefix"]
            if options.get("delay") is not None:
                fields["wla/delay"] = options["delay"]
        return fields

    def _ask(self, fields: dict[str, Any]) -> bytes:
        """The server's answer, on a connection that nobody else uses meanwhile."""
        frame = pack(fields)
        try:
            connection = self._connections.pop()
        except IndexError:
            connection = self._connect()
        try:
            answer = self._exchange(connection, frame)
        except (ConnectionClosed, TimeoutError):
            connection.close()
            connection = self._connect()
            answer = self._exchange(connection, frame)
        self._connections.append(connection)
        if isinstance(answer, str):
            raise (EmergencyStop if answer.startswith(STOPPED) else ValueError)(f"{self.url}: {answer}")
        return answer

    def _exchange(self, connection: ClientConnection, frame: bytes) -> str | bytes:
        connection.send(frame)
        return connection.recv(self._timeout)

    def _connect(self) -> ClientConnection:
        """Another connection to the same policy. ValueError where another one is served by now."""
        connection, hello = self._opened()
        for name in ("robot", "checkpoint_sha256"):
            if hello.get(name) != self.metadata[name]:
                connection.close()
                raise ValueError(
                    f"{self.url}: serves another policy by now ({name} differs); begin again with that one"
                )
        return connection

    def _opened(self) -> tuple[ClientConnection, dict[str, Any]]:
        """A new connection, and what the server says of its policy."""
        with connection_errors(self.url):
            opened = connect(
                self.url, compression=None, max_size=MAX_FRAME_BYTES, additional_headers=self._headers, open_timeout=10
            )
            # It is closed by `close`, after many calls: no block of this file is its context.
            connection = opened.__enter__()
            hello = connection.recv(self._timeout)
            if isinstance(hello, str):
                connection.close()
                raise ConnectionError(hello)
        return connection, unpack(hello)


def headers(token: str | None) -> dict[str, str] | None:
    """What a client sends to be let in. token: that of WLA_TOKEN when left out. ValueError for one that cannot be
    sent."""
    token = token or os.environ.get(TOKEN_VARIABLE)
    return {"Authorization": f"Api-Key {require_token(token)}"} if token else None


@contextmanager
def connection_errors(url: str) -> Iterator[None]:
    """Turns what connecting raises into one line: ConnectionError, or ValueError for what is no address."""
    try:
        yield
    except WireError:
        raise
    except (InvalidURI, ValueError) as error:  # of a port or host that is none
        raise ValueError(f"{url}: is no address of a policy server; give ws://HOST:PORT") from error
    except InvalidHandshake as error:
        raise ConnectionError(f"{url}: refused the connection ({one_line(error)}); check {TOKEN_VARIABLE}") from error
    except (OSError, ConnectionClosed, TypeError) as error:
        raise ConnectionError(f"{url}: no policy server answers ({one_line(error)}); start `wla serve`") from error


def _chunk(answer: dict[str, Any], dim: int) -> ActionChunk:
    """The chunk of an answer. dim: of an action. Raises what its parts raise that are not what they should be."""
    subgoal, steps = answer.get("wla/subgoal"), int(answer["wla/replan_steps"])
    with np.errstate(over="ignore"):  # what is too large is infinite
        actions = np.array(answer["actions"], np.float32)
    if actions.shape != (len(actions), dim) or not np.isfinite(actions).all() or not 1 <= steps <= len(actions):
        raise ValueError(f"actions of shape {actions.shape}, {steps} to execute, of {dim} finite numbers each")
    return ActionChunk(
        actions=actions,
        subtasks=_texts(answer["wla/subtasks"]),
        subgoal=None if subgoal is None else decode_image(subgoal),
        replan_steps=steps,
    )


def _texts(values: Any) -> tuple[str, ...]:
    """Texts of an answer. TypeError for anything else."""
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise TypeError("texts that are none")
    return tuple(values)
