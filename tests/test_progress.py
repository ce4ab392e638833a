from __future__ import annotations

import io

import pytest

from wla.progress import SECONDS_PER_LINE, LoopProgress, progress_bar, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_a_long_run_prints_a_line_now_and_then_and_at_its_end(capsys: pytest.CaptureFixture) -> None:
    times = iter([0.0, 1.0, SECONDS_PER_LINE, SECONDS_PER_LINE + 1, SECONDS_PER_LINE + 2])
    with LoopProgress(9, completed=5, description="training", clock=lambda: next(times)) as progress:
        for step in range(4):
            progress.advance(f"loss {step}")
    captured = capsys.readouterr()
    assert captured.err.splitlines() == ["training 7/9 loss 1", "training 9/9 loss 3"]
    assert captured.out == ""


def test_a_disabled_run_prints_nothing(capsys: pytest.CaptureFixture) -> None:
    with LoopProgress(1, disable=True) as progress:
        progress.advance("done")
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_on_stderr_with_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with LoopProgress(2, description="training") as progress:
        progress.advance("loss 0.5", "second stage")
    assert "second stage" in screen.getvalue()
    assert "1/2" in screen.getvalue()
    assert "loss 0.5" in screen.getvalue()


def test_bars_of_datasets_yield_every_item_and_leave_a_log_empty(capsys: pytest.CaptureFixture) -> None:
    assert list(track(range(3), "reading")) == [0, 1, 2]
    assert progress_bar().disable
    assert capsys.readouterr() == ("", "")
