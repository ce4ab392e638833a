"""One chat request to an OpenAI-compatible server, repeated when the server or the network stumbles."""

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
"""Seconds before the first repetition; each one waits twice as long as the one before."""
RETRYABLE_STATUS = frozenset({408, 409, 429, 500, 502, 503, 504})
"""HTTP statuses that may pass; any other says that the question is wrong."""


class ChatClient:
    """model: as the server calls it. api_key_env: environment variable that holds the key, if one is needed."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        timeout: float = 120.0,
        backoff: float = INITIAL_BACKOFF,
    ) -> None:
        """ValueError when the URL is none, or the variable is not set. timeout: seconds that an answer may take."""
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--endpoint {url!r} is no http(s) URL; give one like http://localhost:8000/v1")
        base = url.rstrip("/")
        self.url = base if base.endswith("/chat/completions") else f"{base}/chat/completions"
        self.model, self.timeout, self.backoff = model, timeout, backoff
        self._headers = {"Content-Type": "application/json"}
        if api_key_env is not None:
            key = os.environ.get(api_key_env)
            if not key:
                raise ValueError(f"--api-key-env {api_key_env}: no such environment variable; set it to the key")
            self._headers["Authorization"] = f"Bearer {key}"

    def chat(self, messages: Sequence[dict[str, Any]]) -> str:
        """The text of the answer. ValueError when the server refuses, or when it cannot be had in TRIES attempts."""
        body = json.dumps({"model": self.model, "messages": list(messages), "temperature": 0}).encode()
        request = urllib.request.Request(self.url, body, self._headers)
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                time.sleep(self.backoff * 2 ** (attempt - 1))
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                    return self._text(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    said = " ".join(error.read(2000).decode(errors="replace").split())[:200]
                problem = f"HTTP {error.code} {error.reason}: {said}"
                if error.code not in RETRYABLE_STATUS:
                    raise ValueError(f"{self.url} refuses: {problem}; correct URL, model or key") from error
            except (OSError, http.client.HTTPException) as error:  # timeouts and broken connections
                problem = str(getattr(error, "reason", None) or error) or type(error).__name__
        raise ValueError(f"{self.url}: no answer in {MAX_ATTEMPTS} attempts ({problem})")

    def _text(self, answer: bytes) -> str:
        try:
            text = json.loads(answer)["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"{self.url}: the answer is no chat completion; is it an OpenAI-compatible URL?"
            ) from error
        return text if isinstance(text, str) else ""
