"""Ctrl-C and SIGTERM are one line and exit code 130, whatever was interrupted."""

from __future__ import annotations

import os
import signal

import pytest

from wla.cli.command import CliArgs, Command
from wla.cli.commands import COMMANDS
from wla.cli.main import main

ERRORS = [KeyboardInterrupt(), ImportError("initialization failed"), ValueError("no shape"), RuntimeError("cancelled")]


class NoArgs(CliArgs):
    """Does nothing."""


def run(error: BaseException, monkeypatch: pytest.MonkeyPatch, *, number: signal.Signals | None) -> int:
    """A command that ends with an error, because of a signal or without."""

    def command(_: NoArgs) -> int:
        try:
            if number is not None:
                os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            pass
        raise error

    monkeypatch.setitem(COMMANDS, "stop", Command(NoArgs, command))
    return main(["stop"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_signal_is_one_line_also_where_a_library_makes_an_error_of_it(
    error: BaseException, number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(error, monkeypatch, number=number) == 130
    assert capsys.readouterr().err == "wla: interrupted\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_same_error_without_ctrl_c_is_what_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(ValueError("no shape"), monkeypatch, number=None) == 2
    assert capsys.readouterr().err == "wla: error: no shape\n"
    with pytest.raises(RuntimeError, match="cancelled"):
        run(RuntimeError("cancelled"), monkeypatch, number=None)
