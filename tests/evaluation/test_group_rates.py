from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes import TASK_VARIANT, LineEnv, Walker
from test_results import result

from wla.cli.evaluation_table import print_summary
from wla.envs.metaworld.tasks import DIFFICULTY, MT50
from wla.evaluation.benchmark import evaluate
from wla.evaluation.group_rates import group_rates
from wla.evaluation.report import write_report
from wla.evaluation.summary import Identity, summarise
from wla.rollout.runner import EpisodeRunner

IDENTITY = Identity(policy="walker", checkpoint_sha256=None, replan_steps=None)


class PassingEnv(LineEnv):
    """Success where the walker passes the goal; held where it is there at the end: in seeds that 4 divides."""

    def step(self, action: Any) -> tuple:
        raw, reward, terminated, truncated, info = super().step(action)
        return raw, reward, terminated, truncated, info | {"held": info["success"] and self.seed % 4 == 0}


def test_held_stands_beside_the_benchmarks_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = EpisodeRunner(lambda variant, shared: (PassingEnv(), Walker()), "walker")
    summary = evaluate([(TASK_VARIANT, seed) for seed in range(8)], runner, IDENTITY, tmp_path)
    saved = json.loads((tmp_path / "summary.json").read_text())
    for tree in (saved["all"], saved["cases"][0]):
        assert (tree["successes"], tree["held"]["successes"]) == (4, 2)
        assert (tree["n"], tree["held"]["n"]) == (7, 7), "a crash is no episode that was not held"
    print_summary(summary)
    assert "all: success rate 57.1 % (4 of 7, " in (printed := capsys.readouterr().out)
    assert "; held 28.6 % (2 of 7, " in printed
    assert "28.6 % held" in write_report(tmp_path).read_text()


def test_environments_with_one_rule_have_no_second_one() -> None:
    summary = summarise([result(), result("failure")], IDENTITY)
    assert summary.held == (None, None)
    assert summary.groups is None


def test_groups_count_the_same_however_many_tasks_they_have(capsys: pytest.CaptureFixture[str]) -> None:
    """Easy tasks succeed, the others fail: 56 % of the tasks, a quarter of the groups."""
    results = [
        result("success" if task in DIFFICULTY["easy"] else "failure", seed, env="metaworld", task=task)
        for task in MT50
        for seed in (300_000, 300_001)
    ]
    groups = group_rates(results)
    assert groups is not None
    assert [name for name, _ in groups.rates] == ["easy", "medium", "hard", "very_hard"]
    assert [(rate.successes, rate.n) for _, rate in groups.rates] == [(56, 56), (0, 22), (0, 12), (0, 10)]
    assert groups.mean.estimate == pytest.approx(0.25)
    assert groups.mean.low < 0.25 < groups.mean.high
    print_summary(summarise(results, IDENTITY))
    printed = capsys.readouterr().out
    assert "groups: success rate 25.0 % (mean of 4 groups, 95 % interval " in printed
    assert "all: success rate 56.0 % (56 of 100, " in printed


def test_a_part_of_the_tasks_has_no_mean_over_groups() -> None:
    assert group_rates([result(env="metaworld", task=task) for task in MT50[1:]]) is None
    assert group_rates([result("error", env="metaworld", task=task) for task in MT50]) is None
    assert group_rates([result(env="not installed here", task="a")]) is None
