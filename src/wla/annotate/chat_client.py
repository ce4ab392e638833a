"""Chat requests to an OpenAI-compatible server, repeated after temporary errors of the server or the network."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any

MAX_ATTEMPTS = 4
INITIAL_BACKOFF = 1.0
"""Seconds before the first retry; the delay doubles with every further one."""
RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
"""HTTP statuses of temporary errors; any other error status means that the request itself is wrong."""


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
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--endpoint {url!r} is not an http(s) URL; give one like http://localhost:8000/v1")
        base = url.rstrip("/")
        self.url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
        self.model, self.timeout, self.backoff = model, timeout, backoff
        self._headers = {"Content-Type": "application/json"}
        if api_key_env is not None:
            key = os.environ.get(api_key_env)
            if not key:
                raise ValueError(f"--api-key-env {api_key_env}: no such environment variable; set it to the API key")
            self._headers["Authorization"] = f"Bearer {key}"

    def chat(self, messages: Sequence[dict[str, Any]]) -> str:
        """Returns the text of the response.

        Raises:
            ValueError: the server refuses the request, or MAX_ATTEMPTS attempts failed.
        """
        body = json.dumps({"model": self.model, "messages": list(messages), "temperature": 0}).encode()
        request = urllib.request.Request(self.url, body, self._headers)
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                time.sleep(self.backoff * 2 ** (attempt - 1))
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as response:
                    return self._text(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    body_text = " ".join(error.read(2000).decode(errors="replace").split())[:200]
                problem = f"HTTP {error.code} {error.reason}: {body_text}"
                if error.code not in RETRYABLE_STATUS:
                    raise ValueError(
                        f"{self.url}: request refused ({problem}); correct the URL, model or API key"
                    ) from error
            except (OSError, http.client.HTTPException) as error:  # timeouts and broken connections
                problem = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise ValueError(f"{self.url}: no response in {MAX_ATTEMPTS} attempts ({problem}); check that the server runs")

    def _text(self, response: bytes) -> str:
        try:
            text = json.loads(response)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{self.url}: the response is not a chat completion; give an OpenAI-compatible URL"
            ) from error
        return text if isinstance(text, str) else ""
