"""An evaluation is run again from its summary.json alone, and compared episode by episode."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from test_benchmark_checkpoint import checkpoint, value  # noqa: F401
from test_plugins import install, site  # noqa: F401

from wla.cli.main import main
from wla.evaluation.provenance import command_line
from wla.rollout.results import read_results


def evaluate(*words: object) -> int:
    return main(["eval", *map(str, words)])


def changed(path: Path, change) -> Path:
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    return path


@pytest.fixture
def run(site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Path:  # noqa: F811
    """A folder that two commands evaluated into: both tasks, the second one with one more seed."""
    install(site, "kitchen-sim", "kitchen = kitchen_sim:FAMILY")
    monkeypatch.chdir(site)
    shared = ("--env", "kitchen", "--protocol", "short", "--out", "first")
    assert evaluate("expert", "--tasks", "all", "--episodes", 2, *shared) == 0
    assert evaluate("expert", "--tasks", "spin", "--episodes", 3, *shared) == 0
    capsys.readouterr()
    return site / "first"


def test_the_summary_states_all_that_is_needed(run: Path) -> None:
    tree = json.loads((run / "summary.json").read_text())
    made = tree["reproduction"]
    command = "wla eval expert --env kitchen --tasks spin --protocol short --episodes 3 --out first"
    assert shlex.split(made["command"]) == shlex.split(command)
    assert made["hardware"].keys() >= {"cpu", "cores", "memory"}
    assert tree["versions"][0]["kitchen-sim"] == "2.0"
    assert tree["versions"][0].keys() >= {"python", "wla"}
    episodes = {case["task"]: case["episodes"] for case in tree["cases"]}
    assert episodes["turn"] == {str(seed): {"outcome": "failure", "steps": 2} for seed in (100_050, 100_051)}
    assert list(episodes["spin"]) == ["100050", "100051", "100052"]


def test_a_summary_alone_runs_all_its_episodes_again(run: Path, capsys: pytest.CaptureFixture) -> None:
    alone = Path((run / "summary.json").rename("sent.json"))
    assert evaluate("--reproduce", alone, "--out", "second") == 0
    shown = capsys.readouterr()
    assert "5 of 5 episodes are equal (outcome and number of steps)" in shown.out
    assert "paired by episode, of these runs, n = 5 episodes" in shown.out
    assert "differs:" not in shown.out
    assert {(r.task, r.seed, r.protocol) for r in read_results(Path("second/results.jsonl"))} == {
        (r.task, r.seed, r.protocol) for r in read_results(run / "results.jsonl")
    }
    assert "wla report . second" in shown.err


def test_what_differs_is_listed(run: Path, capsys: pytest.CaptureFixture) -> None:
    def change(tree) -> None:
        tree["cases"][0]["episodes"]["100051"] = {"outcome": "success", "steps": 2}
        tree["cases"][1]["episodes"]["100050"]["steps"] = 1
        tree["versions"][0]["kitchen-sim"] = "1.9"
        tree["reproduction"]["hardware"]["cpu"] = "abacus"

    changed(run / "summary.json", change)
    assert evaluate("--reproduce", run, "--out", "second") == 1
    shown = capsys.readouterr().out
    assert "3 of 5 episodes are equal" in shown
    assert "  turn day, seed 100051: success after 2 steps -> failure after 2 steps\n" in shown
    assert "  spin day, seed 100050: failure after 1 steps -> failure after 2 steps\n" in shown
    assert "differs: kitchen-sim: 1.9 -> 2.0\n" in shown
    assert "differs: cpu: abacus -> " in shown
    assert "-20.0" in shown


def test_what_cannot_be_reproduced_is_one_line(run: Path, capsys: pytest.CaptureFixture) -> None:
    empty = Path("empty.json")
    empty.write_text("{}")
    damaged = Path("damaged.json")
    damaged.write_text((run / "summary.json").read_text().replace('"steps": 2', '"steps": "two"'))
    for words, message in (
        (("--reproduce", "nowhere.json"), "nowhere.json: no such file; give the summary.json of an evaluation"),
        (("--reproduce", empty), "does not state how to run it again"),
        (("--reproduce", damaged), "damaged.json: cases.0.episodes"),
        (("--reproduce", run, "--tasks", "turn"), "--tasks: --reproduce takes it from first; leave it out"),
        (("random", "--reproduce", run), "is an evaluation of expert; leave out random"),
        ((), "POLICY is missing"),
    ):
        source = [word.name if word == run else word for word in words]
        assert evaluate(*source, "--out", "second") == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not Path("second").exists()
    assert evaluate("--reproduce", "first/summary.json", "--out", "first") == 2
    assert "holds the results to compare with; choose another --out" in capsys.readouterr().err


def test_a_checkpoint_is_found_or_given_and_known_by_its_hash(
    checkpoint: str,  # noqa: F811
    value: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    policy, scorer = Path("policy"), Path("value")
    policy.symlink_to(checkpoint)
    scorer.symlink_to(value)
    options = ("--tasks", "press", "--episodes", 1, "--replan-steps", 8, "--num-candidates", 2, "--max-videos", 0)
    assert evaluate(policy, *options, "--value", scorer, "--out", "first") == 0
    policy.rename("moved")
    again = ("--reproduce", "first/summary.json", "--out", "second")
    assert evaluate(*again) == 2
    assert "or give it: wla eval CHECKPOINT --reproduce first/summary.json" in capsys.readouterr().err
    assert evaluate("nano-tabletop", *again) == 2
    assert "nano-tabletop: has sha256 " in capsys.readouterr().err
    assert evaluate("moved", *again, "--value", "nano-value") == 2
    assert "nano-value: has other files than first/summary.json was evaluated with" in capsys.readouterr().err
    assert not Path("second").exists()
    assert evaluate("moved", *again) == 0
    assert "1 of 1 episodes are equal" in capsys.readouterr().out


def test_a_command_line_is_read_as_it_was_meant() -> None:
    from command_lines import parse_line

    from wla.evaluation.configs import EvalConfig

    config = EvalConfig(
        policy="a run/checkpoint",
        tasks=("place", "stack"),
        imagine=True,
        action_conditioning=False,
        num_candidates=2,
        selection_margin=0.3,
        goal="it's.png",
    )
    name, parsed = parse_line(shlex.split(command_line(config, Path("out put")))[1:])
    assert name == "eval"
    assert parsed.out == Path("out put")
    assert config == EvalConfig(**{field: getattr(parsed, field) for field in EvalConfig.model_fields})
