"""Chat requests to an OpenAI-compatible server, repeated after temporary errors of the server or the network.

Redirects are not followed: the API key is for the host that the user named and for no other.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

MAX_ATTEMPTS = 4
INITIAL_BACKOFF = 1.0
"""Seconds before the first retry; the delay doubles with every further one."""
RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
"""HTTP statuses of temporary errors; any other error status means that the request itself is wrong."""
MAX_RESPONSE_BYTES = 2**20
"""Length of a response that is still read; answers have some kilobytes."""


class ChatClient:
    """Client for one model of one server.

    Args:
        url: base URL of the API or URL of its chat completions, http or https.
        model: name of the model on the server.
        api_key_env: environment variable with the API key; None for a server without keys.
        timeout: seconds that one response may take.
        backoff: seconds before the first retry.

    Raises:
        ValueError: the URL is not an http(s) URL, or the environment variable is not set.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        backoff: float = INITIAL_BACKOFF,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--endpoint {url!r} is not an http(s) URL; give one like http://localhost:8000/v1")
        if "@" in parts.netloc:
            raise ValueError("--endpoint holds a password; set an environment variable to the key: --api-key-env NAME")
        path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self.url = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, "", ""))
        """Without the query, which may hold a key: for messages."""
        self.model, self.timeout, self.backoff = model, timeout, backoff
        self._address = urllib.parse.urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        self._headers = {"Content-Type": "application/json"}
        self._key = None if api_key_env is None else _read_key(api_key_env)
        if self._key is not None:
            self._headers["Authorization"] = f"Bearer {self._key}"

    def chat(self, messages: Sequence[dict[str, Any]]) -> str:
        """Returns the text of the response.

        Raises:
            ValueError: the server refuses the request, or MAX_ATTEMPTS attempts failed.
        """
        body = json.dumps({"model": self.model, "messages": list(messages), "temperature": 0}).encode()
        request = urllib.request.Request(self._address, body, self._headers)
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                time.sleep(self.backoff * 2 ** (attempt - 1))
            try:
                status, content = self._request(request)
            except (OSError, http.client.HTTPException) as error:  # timeouts and broken connections
                problem = str(getattr(error, "reason", None) or error) or type(error).__name__
                continue
            if status == 200:
                return self._text(content)
            problem = self._problem(status, content)
            if status not in RETRYABLE_STATUS:
                raise ValueError(f"{self.url}: request refused ({problem}); correct the URL, model or API key")
        raise ValueError(f"{self.url}: no response in {MAX_ATTEMPTS} attempts ({problem}); check that the server runs")

    def _request(self, request: urllib.request.Request) -> tuple[int, bytes]:
        """Status and content of a response, of which no more than `MAX_RESPONSE_BYTES` and one byte is read; the target
        of a redirect is its content."""
        with _opener(self.timeout) as open_request:
            try:
                with open_request(request, timeout=self.timeout) as response:
                    return 200, response.read(MAX_RESPONSE_BYTES + 1)
            except urllib.error.HTTPError as error:
                with error:
                    location = error.headers.get("Location")
                    return error.code, location.encode() if location else error.read(2000)

    def _problem(self, status: int, content: bytes) -> str:
        """Description of an error status, without the key, which some servers repeat."""
        text = " ".join(content.decode(errors="replace").split())
        if 300 <= status < 400:
            target = urllib.parse.urlsplit(urllib.parse.urljoin(self.url, text))
            text = f"it redirects to {target.scheme}://{target.hostname}{target.path}"
        text = text.replace(self._key, "***") if self._key else text
        return f"HTTP {status} {http.client.responses.get(status, '')}: {text}"[:240]

    def _text(self, response: bytes) -> str:
        if len(response) > MAX_RESPONSE_BYTES:
            raise ValueError(f"{self.url}: the response is longer than {MAX_RESPONSE_BYTES} bytes; try another --model")
        try:
            text = json.loads(response)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise ValueError(
                f"{self.url}: the response is not a chat completion; give an OpenAI-compatible URL"
            ) from error
        return text if isinstance(text, str) else ""


def _read_key(variable: str) -> str:
    """The API key of an environment variable. ValueError, without the key, when it cannot be one."""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(f"--api-key-env {variable}: no such environment variable; set it to the API key")
    if not (key.isascii() and key.isprintable()):
        raise ValueError(f"--api-key-env {variable}: holds characters that no API key has; set it to the API key")
    return key


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes every redirect an HTTPError."""

    def redirect_request(self, *_: Any) -> None:
        return None


class _Connections(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens http and https connections whose sockets another thread can cut."""

    def __init__(self) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kept(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._kept(http.client.HTTPSConnection), req)

    def _kept(self, kind: type[http.client.HTTPConnection]) -> Any:
        def open_connection(*args: Any, **options: Any) -> http.client.HTTPConnection:
            connection = kind(*args, **options)
            connect = connection.connect

            def connect_and_keep() -> None:
                connect()
                self._sockets.append(connection.sock)

            connection.connect = connect_and_keep  # type: ignore[method-assign]
            return connection

        return open_connection

    def cut(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@contextmanager
def _opener(seconds: float) -> Iterator[Callable[..., Any]]:
    """Context with a function that opens a request; all of it, whatever the server sends, ends within the time.

    A socket's own timeout is for each piece: a server that sends a byte now and then would never reach it. TimeoutError
    when the time was over.
    """
    connections, finished, expired = _Connections(), threading.Event(), threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + seconds
        while not finished.wait(max(0.05, deadline - time.monotonic())):
            expired.set()
            connections.cut()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield urllib.request.build_opener(_NoRedirects, connections).open
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set():
            raise TimeoutError(f"no complete response within {seconds:g} s") from error
        raise
    else:
        if expired.is_set():
            raise TimeoutError(f"no complete response within {seconds:g} s")
    finally:
        finished.set()
        watcher.join()
