"""A policy on a websocket: connections, tokens and plain requests. What is said on a connection is the endpoint's."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Protocol

import websockets
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from wla.serving.batching import Batcher
from wla.serving.heap import keep_heap_small
from wla.serving.metrics import ServerMetrics
from wla.serving.openpi import OpenpiEndpoint
from wla.serving.wire import MAX_FRAME_BYTES
from wla.serving.xpolicylab.endpoint import XPolicyLabEndpoint
from wla.types import Policy

logger = logging.getLogger("wla.serving")
ProtocolName = Literal["openpi", "xpolicylab"]


class Dialect(Protocol):
    """One protocol. ping_timeout_s: seconds without a pong after which a connection counts as dead; None: never."""

    ping_timeout_s: float | None

    async def attend(self, connection: ServerConnection, peer: str) -> None:
        """Serves a connection until it ends."""
        ...


ENDPOINTS: dict[ProtocolName, Callable[[Policy, str, Batcher, ServerMetrics], Dialect]] = {
    "openpi": OpenpiEndpoint,
    "xpolicylab": XPolicyLabEndpoint,
}


@dataclass(frozen=True)
class ServerConfig:
    """Where and how to serve.

    port: 0 for any free one. protocol: what is spoken on it. token: what clients have to send as `Authorization:
    Api-Key TOKEN` or `Bearer TOKEN`; None: no one is asked for any. batch_window_s: see `Batcher`.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    protocol: ProtocolName = "openpi"
    token: str | None = None
    tls: ssl.SSLContext | None = None
    max_batch: int = 32
    batch_window_s: float = 0.005


class PolicyServer:
    """Serves one policy to any number of clients. Used as `async with PolicyServer(policy, name, config) as server`."""

    def __init__(self, policy: Policy, name: str, config: ServerConfig) -> None:
        """name: of the policy, for its clients. ValueError for a robot that the protocol cannot express."""
        self._config = config
        self._batcher = Batcher(policy, max_batch=config.max_batch, window_s=config.batch_window_s)
        self.metrics = ServerMetrics()
        self._endpoint = ENDPOINTS[config.protocol](policy, name, self._batcher, self.metrics)
        self._server: Server | None = None
        self._work: asyncio.Future[tuple[None, None]] | None = None

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
            ping_timeout=self._endpoint.ping_timeout_s,
            process_request=self._http,
            close_timeout=1,
            logger=logging.getLogger("wla.serving.websockets"),
        )
        self._work = asyncio.gather(self._batcher.run(), keep_heap_small())
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
                f"a websocket is here, for clients of {self._config.protocol}; see also /healthz and /metrics\n",
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
        try:
            with self.metrics.connection(), suppress(websockets.ConnectionClosed):
                await self._endpoint.attend(connection, peer)
        finally:
            logger.info("disconnected", extra={"peer": peer})
