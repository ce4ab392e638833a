"""A web server on this machine for one person's browser: a page that shows an observed server and commands it.

Nobody else may command a robot: the address holds a key of this run, and a request must come from this very page, so
that neither another program's page nor a name that was pointed at this machine gets in.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import math
import secrets
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import websockets
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from wla.foreign import one_line
from wla.html import data_url, template
from wla.serving.delivery import Mailbox, sent
from wla.serving.watch.source import ObservedServer
from wla.specs import RobotSpec

HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost")
COMMANDS = ("stop", "release", "memory", "imagine")
MAX_COMMAND_BYTES = 2**20
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; img-src data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


class WatchPage:
    """The page of one observed server, for any number of tabs. Used as `async with WatchPage(observed) as page`."""

    def __init__(self, observed: ObservedServer, port: int = 0) -> None:
        """port: 0 for any free one."""
        self._observed, self._port = observed, port
        self._key = secrets.token_urlsafe(16)
        self._tabs: set[Mailbox[str]] = set()
        self._server: dict[str, Any] = {"url": observed.url, "connected": False}
        self._sessions: dict[int, dict[str, Any]] = {}
        self._http: Server | None = None
        observed.listeners.append(self)

    async def __aenter__(self) -> WatchPage:
        """OSError when the port is in use."""
        self._http = await serve(
            self._tab,
            HOST,
            self._port,
            compression=None,
            max_size=MAX_COMMAND_BYTES,
            process_request=self._request,
            close_timeout=1,
            logger=logging.getLogger("wla.serving.websockets"),
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._http is not None, "entered"
        self._http.close()
        await self._http.wait_closed()

    @property
    def address(self) -> str:
        """Where a browser finds the page; whoever knows it commands the server."""
        assert self._http is not None, "entered"
        port = next(iter(self._http.sockets)).getsockname()[1]
        return f"http://{HOST}:{port}/?key={self._key}"

    def connected(self, server: Mapping[str, Any], robot: RobotSpec) -> None:
        self._sessions = {}
        action = robot.action
        columns = zip(action.names, action.units, action.low, action.high, strict=True)
        self._server = {
            "url": self._observed.url,
            "connected": True,
            "policy": server.get("policy"),
            "imagines": server.get("imagines") is True,
            "primary": robot.observation.primary_camera,
            "actions": [dict(zip(("name", "unit", "low", "high"), column, strict=True)) for column in columns],
        }
        self._put("server", {"server": self._server})

    def lost(self, line: str) -> None:
        self._server |= {"connected": False, "line": line}
        self._put("server", {"server": self._server})

    def received(self, fields: Mapping[str, Any]) -> None:
        if "sessions" in fields:
            numbers = set(fields["sessions"])
            self._sessions = {number: known for number, known in self._sessions.items() if number in numbers}
            self._put("sessions", fields)
        elif "session" in fields:
            number = fields["session"]
            self._sessions[number] = {**self._sessions.get(number, {}), **fields}
            self._put(number if "prediction_id" in fields else ("status", number), fields)
        else:
            self._put("refused", fields)

    def _put(self, key: object, fields: Mapping[str, Any]) -> None:
        if self._tabs:
            text = json.dumps(_plain(fields), allow_nan=False)
            for mailbox in self._tabs:
                mailbox.put(key, text)

    def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        """The page, or a refusal; None: go on to the websocket."""
        parts = urlsplit(request.path)
        host = request.headers.get("Host", "")
        given = parse_qs(parts.query).get("key", [""])[0]
        if urlsplit(f"//{host}").hostname not in LOOPBACK:
            return _refused(connection, "this page is for this machine only")
        if not hmac.compare_digest(given.encode(), self._key.encode()):
            return _refused(connection, "wrong or missing key: open the address that `wla watch` printed")
        if parts.path == "/live":
            own = request.headers.get("Origin") == f"http://{host}"
            return None if own else _refused(connection, "another page may not watch or command a policy")
        nonce = secrets.token_urlsafe(16)
        response = connection.respond(HTTPStatus.OK, template("serving/watch/watch.html").render(nonce=nonce))
        del response.headers["Content-Type"]
        for name, value in {**HEADERS, "Content-Security-Policy": POLICY.format(nonce=nonce)}.items():
            response.headers[name] = value
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        return response

    async def _tab(self, connection: ServerConnection) -> None:
        """Serves one tab of a browser."""
        mailbox: Mailbox[str] = Mailbox()
        mailbox.put("server", json.dumps(_plain({"server": self._server}), allow_nan=False))
        for number, known in sorted(self._sessions.items(), reverse=True):  # the page shows the first one
            mailbox.put(number, json.dumps(_plain(known), allow_nan=False))
        self._tabs.add(mailbox)
        pushing = asyncio.create_task(_push(connection, mailbox))
        try:
            with suppress(websockets.ConnectionClosed):
                async for text in connection:
                    try:
                        await self._observed.command(_command(text))
                    except (ValueError, ConnectionError) as error:
                        mailbox.put("refused", json.dumps({"refused": one_line(error)}))
        finally:
            self._tabs.discard(mailbox)
            pushing.cancel()


async def _push(connection: ServerConnection, mailbox: Mailbox[str]) -> None:
    with suppress(websockets.ConnectionClosed):
        while await sent(connection, await mailbox.get()):
            pass


def _refused(connection: ServerConnection, line: str) -> Response:
    return connection.respond(HTTPStatus.FORBIDDEN, f"{line}\n")


def _command(text: str | bytes) -> dict[str, Any]:
    """A command for the server. ValueError for anything else."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("commands of the page are JSON") from error
    if not isinstance(fields, dict) or fields.get("endpoint") not in COMMANDS:
        raise ValueError(f"commands of the page are {', '.join(COMMANDS)}")
    return fields


def _plain(value: Any) -> Any:
    """The value as JSON has it: images as data URLs, numbers that are not finite as null."""
    match value:
        case Mapping():
            return {str(name): _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case bytes():
            return data_url(value)
        case np.ndarray() | np.generic():
            return _plain(value.tolist())
        case float() if not math.isfinite(value):
            return None
    return value
