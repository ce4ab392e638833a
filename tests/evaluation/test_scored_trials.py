"""Trials that a person scored are an evaluation like any other."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from wla.cli import main as cli
from wla.evaluation.summary import load_summary
from wla.rollout.results import read_results

TRIED = ["--policy", "my_run", "--robot", "my_arm", "--task", "towel"]


def score(out: Path, *words: str) -> int:
    return cli.main(["score", str(out), *TRIED, *words])


def test_trials_are_added_numbered_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "towel"
    assert score(out, "--outcomes", "success", "failure", "error") == 0
    assert score(out, "--outcomes", "success") == 0
    results = read_results(out / "results.jsonl")
    assert [(each.seed, each.outcome) for each in results] == [
        (0, "success"),
        (1, "failure"),
        (2, "error"),
        (3, "success"),
    ]
    assert (results[0].embodiment, results[0].protocol) == ("my_arm", "person")
    total = load_summary(out).total
    assert (total.successes, total.n, total.errors) == (2, 3, 1)
    assert (out / "report.html").is_file()
    assert "towel" in capsys.readouterr().out


def test_a_person_is_asked_trial_by_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\nwhat?\nn\n\n"))
    assert score(tmp_path / "towel") == 0
    assert [each.outcome for each in read_results(tmp_path / "towel/results.jsonl")] == ["success", "failure"]
    asked = [line for line in capsys.readouterr().out.splitlines() if "did it succeed?" in line]
    assert [line.split()[2] for line in asked] == ["0:", "1:", "1:", "2:"]


def test_two_policies_are_compared_trial_by_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert score(tmp_path / "a", "--outcomes", *["failure"] * 6) == 0
    assert score(tmp_path / "b", "--outcomes", *["success"] * 6, "--policy", "other") == 0
    assert cli.main(["compare-runs", str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "episodes with another outcome: 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--outcomes", "success", "--first-trial", "1"], "trial 1 of towel is scored"),
        (["--outcomes", "success", "--policy", "other"], "holds results of another run"),
        (["--outcomes", "perfect"], "--outcomes"),
    ],
)
def test_mistakes_are_one_line_and_change_nothing(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "towel"
    score(out, "--outcomes", "success", "failure")
    before = (out / "results.jsonl").read_bytes()
    capsys.readouterr()
    assert score(out, *words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert (out / "results.jsonl").read_bytes() == before


def test_no_answer_is_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert score(tmp_path / "towel") == 2
    assert "no trial was scored" in capsys.readouterr().err
    assert not (tmp_path / "towel").exists()
