"""`wla watch`: what it refuses in one line, and a page about a server."""

from __future__ import annotations

import socket
import sys

import pytest
from served import Teller, served

from wla.cli import main as cli


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert cli.main(["watch", *words, "--no-browser"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err


def test_what_cannot_be_watched_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("WLA_TOKEN", "wrong")
    assert "no policy server answers" in refused(capsys, "ws://127.0.0.1:9")
    assert "give ws://HOST:PORT" in refused(capsys, "nano-memory")
    with served(Teller(), token="secret") as address:
        message = refused(capsys, address)
    assert "check WLA_TOKEN" in message
    assert "secret" not in message
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "another --port" in refused(capsys, address, "--port", str(taken.getsockname()[1]))
    monkeypatch.setitem(sys.modules, "rerun", None)
    assert "pip install rerun-sdk" in refused(capsys, address, "--rerun", str(tmp_path))
