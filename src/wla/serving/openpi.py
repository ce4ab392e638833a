"""Answers the clients of openpi and RoboArena, and `RemotePolicy`.

The first frame after connecting is a map about the policy; each binary frame after it is a request, answered by a
chunk. An error is one frame of text, after which the connection stays usable. See `observers` for those who watch.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import Any

from websockets.asyncio.server import ServerConnection

from wla.serving.batching import Batcher
from wla.serving.delivery import sent
from wla.serving.logs import failure
from wla.serving.metrics import ServerMetrics
from wla.serving.observers import Observers
from wla.serving.replies import metadata, reply
from wla.serving.requests import MAX_NAME, Request, RequestReader, read_text, session_name
from wla.serving.sessions import ServedSession, Sessions
from wla.serving.wire import WireError, pack, unpack
from wla.types import Policy

logger = logging.getLogger("wla.serving")


class OpenpiEndpoint:
    """Serves connections until they end."""

    ping_timeout_s: float | None = 20.0

    def __init__(self, policy: Policy, name: str, batcher: Batcher, metrics: ServerMetrics) -> None:
        """name: of the policy, for its clients."""
        self._policy, self._batcher, self._metrics = policy, batcher, metrics
        self._reader = RequestReader(policy.robot_spec.observation)
        hello = metadata(policy, name, self._reader.names)
        self._hello = pack(hello)
        self._sessions = Sessions(policy)
        self._observers = Observers(self._sessions, imagines=hello["imagines"])

    async def attend(self, connection: ServerConnection, peer: str) -> None:
        """Answers the requests of a connection, one after the other."""
        own = self._sessions.of_connection(peer)
        try:
            await connection.send(self._hello)
            await self._requests(connection, own, peer)
        finally:
            self._sessions.close(own)
            self._observers.listed()

    async def _requests(self, connection: ServerConnection, own: ServedSession, peer: str) -> None:
        previous_ms = None
        async for frame in connection:
            began = time.perf_counter()
            try:
                endpoint, fields = _opened(frame)
                if endpoint == "watch":
                    wanted = fields.get("predictions") is not False
                    await self._observers.attend(connection, peer, predictions=wanted)
                    return
                answer = await self._answer(endpoint, fields, own, previous_ms)
            except Exception as error:  # noqa: BLE001 - no frame of a peer ends its connection
                refused = error if isinstance(error, WireError) else failure(logger, "the request", error)
                self._metrics.errors.inc()
                logger.warning("refused", extra={"peer": peer, "reason": str(refused)})
                answer = str(refused)
            if not await sent(connection, answer):
                logger.warning("dropped", extra={"peer": peer, "reason": "did not read its reply"})
                break
            previous_ms = 1000 * (time.perf_counter() - began)
            self._metrics.seconds.observe(previous_ms / 1000)

    async def _answer(
        self, endpoint: str | None, fields: Any, own: ServedSession, previous_ms: float | None
    ) -> bytes | str:
        if endpoint == "reset":
            served = self._session(session_name(fields), own)
            served.session.reset()
            self._observers.changed(served)
            return "reset successful"
        if endpoint not in (None, "infer"):
            raise WireError("endpoint is infer, reset or watch")
        request = self._reader.read(fields)
        served = self._session(request.session_id, own)
        self._sessions.begin(served)
        async with served.lock:
            began = time.perf_counter()
            chunk, prediction_id, state = await self._act(request, served)
            timing = {"infer_ms": 1000 * (time.perf_counter() - began)}
        if endpoint is not None:
            return pack(chunk.actions)
        return reply(chunk, prediction_id, state, timing, previous_ms)

    async def _act(self, request: Request, served: ServedSession) -> tuple[Any, int, Any]:
        self._sessions.require_free(served)
        state = served.session.prepare(request)
        options: dict[str, Any] = {"imagine": True} if request.imagine or served.imagines else {}
        if request.flow_steps is not None:
            options["flow_steps"] = request.flow_steps
        for name, array in (("prefix", request.prefix), ("limits", request.limits)):
            dim = self._policy.robot_spec.action.dim
            if array is not None and array.shape[1] != dim:
                raise WireError(f"wla/{name} has {array.shape[1]} dimensions, the robot's actions {dim}")
        if request.limits is not None:
            served.limits = request.limits
        if request.prefix is not None:
            options |= {"prefix": request.prefix[None], "delay": request.delay}
        began = time.perf_counter()
        chunk, after = await self._batcher.act(request.observation, state, options)
        served.infer_ms, served.predicted = 1000 * (time.perf_counter() - began), time.monotonic()
        self._sessions.require_free(served)  # a stop that came meanwhile: nothing of the chunk is executed
        prediction = served.session.predicted(request, chunk, after)
        self._observers.predicted(served, prediction)
        asked_for = request.imagine or not served.imagines
        return chunk if asked_for else replace(chunk, subgoal=None), prediction.id, after

    def _session(self, name: str | None, own: ServedSession) -> ServedSession:
        """The session of that name, which outlives its connection; the connection's own for None."""
        return own if name is None else self._sessions.named(name, own.peer)


def _opened(frame: str | bytes) -> tuple[str | None, Any]:
    """The endpoint that a frame is for, None where it names none, and its fields."""
    if isinstance(frame, str):
        raise WireError("requests are binary frames of msgpack, not text")
    fields = unpack(frame)
    if isinstance(fields, dict) and "message_type" in fields:
        raise WireError("openpi's protocol is spoken here; XPolicyLab's clients need `wla serve --protocol xpolicylab`")
    endpoint = fields.pop("endpoint", None) if isinstance(fields, dict) else None
    return None if endpoint is None else read_text(endpoint, "endpoint", MAX_NAME), fields
