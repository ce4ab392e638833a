from dataclasses import asdict

import pytest
from fakes import TASK_VARIANT
from hostile import TEXTS

from wla.json_lines import append_line, to_line
from wla.rollout.results import EpisodeResult, append_result, read_results, success_rate
from wla.rollout.subtask_metrics import SubtaskScore


def result(outcome="success", seed=0, **changes):
    values = dict(
        env=TASK_VARIANT.env,
        task=TASK_VARIANT.task,
        setting=TASK_VARIANT.setting,
        embodiment=TASK_VARIANT.embodiment,
        protocol=TASK_VARIANT.protocol,
        instruction="walk",
        seed=seed,
        outcome=outcome,
        error=None,
        steps=4,
        policy="expert",
        checkpoint_sha256=None,
        subtasks=((0, "set off"), (3, "ärrive")),
        memory=((3, "set off"),),
        subtask_metrics=SubtaskScore(
            windows=2,
            exact=1,
            repeats=0,
            transitions=1,
            boundary_error_steps=1,
            missed_transitions=0,
            memory_strict=True,
        ),
        versions={"python": "3"},
    )
    return EpisodeResult(**(values | changes))


def test_errors_are_counted_beside_the_rate():
    rate = success_rate([result(), result(), result("failure"), result("error")])
    assert (rate.n, rate.successes, rate.errors) == (3, 2, 1)
    assert rate.rate == pytest.approx(2 / 3)
    assert "2 of 3" in str(rate)
    assert "1 error not counted" in str(rate)


def test_only_errors_give_no_rate():
    rate = success_rate([result("error")])
    assert (rate.n, rate.errors, rate.rate) == (0, 1, None)
    assert str(rate) == "no decided episode, 1 error not counted"


def test_results_come_back_as_written(tmp_path):
    path = tmp_path / "results.jsonl"
    assert read_results(path) == []
    lines = [result(seed=1), result("error", seed=2, error="E: x")]
    for line in lines:
        append_result(path, line)
    assert read_results(path) == lines


def test_a_line_cut_off_by_a_kill_is_dropped_and_the_file_goes_on(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, result(seed=1))
    with path.open("a") as file:
        file.write('{"env": "li')
    assert [r.seed for r in read_results(path)] == [1]
    append_result(path, result(seed=2))
    assert [r.seed for r in read_results(path)] == [1, 2]


def test_an_episode_counts_once_however_many_lines_it_has(tmp_path):
    path = tmp_path / "results.jsonl"
    for outcome, seed in (("error", 1), ("success", 2), ("failure", 1), ("failure", 2), ("error", 2)):
        append_result(path, result(outcome, seed=seed))
    assert {r.seed: r.outcome for r in read_results(path)} == {1: "failure", 2: "success"}
    assert len(read_results(path)) == 2


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_any_text_comes_back_as_written(tmp_path, text):
    path = tmp_path / "results.jsonl"
    lines = [result(instruction=text, error=text, subtasks=((0, text),), memory=((1, text),)), result(seed=1)]
    for line in lines:
        append_result(path, line)
    assert read_results(path) == lines


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[1]", '{"env": "line"}']
    + [
        to_line(asdict(result()) | change).strip()
        for change in (
            {"steps": "many"},
            {"seed": None},
            {"outcome": "half"},
            {"subtasks": [[1]]},
            {"memory": 3},
            {"subtask_metrics": {"windows": 1}},
            {"versions": []},
        )
    ],
)
def test_a_foreign_line_is_named(tmp_path, line):
    path = tmp_path / "results.jsonl"
    append_line(path, asdict(result()))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match=r"results\.jsonl:2 "):
        read_results(path)
