"""A policy on a websocket, for the clients of openpi and RoboArena, and for `RemotePolicy`.

The first frame after connecting is a map about the policy; each binary frame after it is a request, answered by a
chunk. An error is one frame of text, after which the connection stays usable. See `observers` for those who watch.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import websockets
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from wla.serving.batching import Batcher
from wla.serving.delivery import sent
from wla.serving.metrics import ServerMetrics
from wla.serving.observers import Observers
from wla.serving.replies import metadata, reply
from wla.serving.requests import Request, RequestReader
from wla.serving.sessions import ServedSession, Sessions
from wla.serving.wire import MAX_FRAME_BYTES, WireError, pack, unpack
from wla.types import Policy

logger = logging.getLogger("wla.serving")


@dataclass(frozen=True)
class ServerConfig:
    """Where and how to serve.

    port: 0 for any free one. token: what clients have to send as `Authorization: Api-Key TOKEN` or `Bearer TOKEN`;
    None: no one is asked for any. batch_window_s: see `Batcher`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    tls: ssl.SSLContext | None = None
    max_batch: int = 32
    batch_window_s: float = 0.005


class PolicyServer:
    """Serves one policy to any number of clients. Used as `async with PolicyServer(policy, name, config) as server`."""

    def __init__(self, policy: Policy, name: str, config: ServerConfig) -> None:
        """name: of the policy, for its clients."""
        self._policy, self._config = policy, config
        self._reader = RequestReader(policy.robot_spec.observation)
        self._batcher = Batcher(policy, max_batch=config.max_batch, window_s=config.batch_window_s)
        hello = metadata(policy, name, self._reader.names)
        self._hello = pack(hello)
        self._sessions = Sessions(policy)
        self._observers = Observers(self._sessions, imagines=hello["imagines"])
        self.metrics = ServerMetrics()
        self._server: Server | None = None
        self._work: asyncio.Task[None] | None = None

    async def __aenter__(self) -> PolicyServer:
        """OSError when the port is in use."""
        self._server = await serve(
            self._connection,
            self._config.host,
            self._config.port,
            ssl=self._config.tls,
            compression=None,
            max_size=MAX_FRAME_BYTES,
            max_queue=2,
            process_request=self._http,
            close_timeout=1,
            logger=logging.getLogger("wla.serving.websockets"),
        )
        self._work = asyncio.create_task(self._batcher.run())
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None, "entered"
        assert self._work is not None, "entered"
        self._server.close()
        await self._server.wait_closed()
        self._work.cancel()
        with suppress(asyncio.CancelledError):
            await self._work

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._server is not None, "entered"
        return next(iter(self._server.sockets)).getsockname()[1]

    def _http(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answers plain requests, and connections without the token; None: continue with the websocket handshake."""
        if request.path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if "Origin" in request.headers:
            # Only browsers send it, where a page from anywhere may open a websocket to this machine.
            return connection.respond(HTTPStatus.FORBIDDEN, "web pages may not use a policy; see `wla watch`\n")
        if not self._allowed(request.headers.get("Authorization", "")):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "wrong or missing token: Authorization: Api-Key TOKEN\n")
        if request.path == "/metrics":
            return connection.respond(HTTPStatus.OK, self.metrics.text(self._batcher))
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return connection.respond(
                HTTPStatus.UPGRADE_REQUIRED,
                "a websocket is here, for openpi's client; see also /healthz and /metrics\n",
            )
        return None

    def _allowed(self, authorization: str) -> bool:
        if self._config.token is None:
            return True
        kind, _, token = authorization.partition(" ")
        known = hmac.compare_digest(token.encode(), self._config.token.encode())
        return known and kind in ("Api-Key", "Bearer")

    async def _connection(self, connection: ServerConnection) -> None:
        peer = str(connection.remote_address[0]) if connection.remote_address else "unknown"
        logger.info("connected", extra={"peer": peer})
        own = self._sessions.of_connection(peer)
        try:
            with self.metrics.connection(), suppress(websockets.ConnectionClosed):
                await connection.send(self._hello)
                await self._requests(connection, own, peer)
        finally:
            self._sessions.close(own)
            self._observers.listed()
            logger.info("disconnected", extra={"peer": peer})

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
            except WireError as error:
                self.metrics.errors.inc()
                logger.warning("refused", extra={"peer": peer, "reason": str(error)})
                answer = str(error)
            if not await sent(connection, answer):
                logger.warning("dropped", extra={"peer": peer, "reason": "did not read its reply"})
                break
            previous_ms = 1000 * (time.perf_counter() - began)
            self.metrics.seconds.observe(previous_ms / 1000)

    async def _answer(
        self, endpoint: object, fields: Any, own: ServedSession, previous_ms: float | None
    ) -> bytes | str:
        if endpoint == "reset":
            served = self._session(fields.get("wla/session_id", fields.get("session_id")), own)
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
        if request.prefix is not None:
            dim = self._policy.robot_spec.action.dim
            if request.prefix.shape[1] != dim:
                raise WireError(f"wla/prefix has {request.prefix.shape[1]} dimensions, the robot's actions {dim}")
            options |= {"prefix": request.prefix[None], "delay": request.delay}
        began = time.perf_counter()
        chunk, after = await self._batcher.act(request.observation, state, options)
        served.infer_ms, served.predicted = 1000 * (time.perf_counter() - began), time.monotonic()
        self._sessions.require_free(served)  # a stop that came meanwhile: nothing of the chunk is executed
        prediction = served.session.predicted(request, chunk, after)
        self._observers.predicted(served, prediction)
        asked_for = request.imagine or not served.imagines
        return chunk if asked_for else replace(chunk, subgoal=None), prediction.id, after

    def _session(self, name: object, own: ServedSession) -> ServedSession:
        """The session of that name, which outlives its connection; the connection's own for None."""
        return self._sessions.named(name, own.peer) if isinstance(name, str) else own


def _opened(frame: str | bytes) -> tuple[object, Any]:
    """The endpoint that a frame is for, and its fields."""
    if isinstance(frame, str):
        raise WireError("requests are binary frames of msgpack, not text")
    fields = unpack(frame)
    return fields.pop("endpoint", None) if isinstance(fields, dict) else None, fields
