from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from wla.bench import act, parts
from wla.bench.configs import BenchConfig
from wla.bench.parts import NO_GPU
from wla.bench.results import Results, parity
from wla.bench.run import run_benchmarks
from wla.bench.timing import MIN_ROUNDS, Budget, in_turns
from wla.policy import WLAPolicy

CPU = torch.device("cpu")


def test_a_comparison_ends_in_its_speedup_whether_less_or_more_is_better():
    results = Results()
    results.add("old", p50_ms=20.0, samples_per_s=10.0)
    results.add("new", p50_ms=8.0, samples_per_s=25.0)
    results.compare("latency", "old", "new", "p50 ms", "texts equal")
    results.compare("throughput", "old", "new", "samples/s")
    results.compare("nothing", "old", "not measured", "p50 ms")
    assert results.comparisons == [
        "latency: 20 -> 8 ms (texts equal), speedup 2.50",
        "throughput: 10 -> 25 samples/s, speedup 2.50",
    ]
    assert results.speedups == {"latency": 2.5, "throughput": 2.5}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModuleNotFoundError("No module named 'mujoco'", name="mujoco"), "needs mujoco, which is not installed"),
        (torch.OutOfMemoryError("CUDA out of memory"), "does not fit into the memory of this GPU"),
    ],
)
def test_what_a_machine_cannot_measure_is_open_with_the_reason_and_the_rest_goes_on(error, reason):
    results = Results()
    with results.section("first"):
        raise error
    with results.section("second"):
        results.add("row", n=1)
    assert results.open == {"first": reason}
    assert results.rows == {"row": {"n": 1}}


def test_what_no_time_was_left_for_is_open():
    results = Results()
    assert results.in_time("first", Budget.of(60))
    assert not results.in_time("second", Budget.of(0))
    assert results.open == {"second": "no time was left: name more --minutes"}


def test_a_path_is_compiled_where_half_of_the_time_is_enough(monkeypatch: pytest.MonkeyPatch):
    policy, loaded = WLAPolicy(tiny.checkpoint(), name="tiny", checkpoint_sha256="0"), list[dict[str, object]]()

    def load(**options: object) -> WLAPolicy:
        loaded.append(options)
        return policy

    monkeypatch.setattr(act, "PATHS", {"reference": {}, "fast": {"fast": True}})
    monkeypatch.setattr(act, "missing", lambda sets: len(list(sets)))
    monkeypatch.setattr(act, "cores", lambda: 2)
    for seconds in (40, 60):  # three functions, two at a time: 22.5 s
        results = Results()
        act.load_paths(results, "act", load, Budget.of(seconds))
        reason = results.open["act, fast"]
        assert reason.startswith("3 functions are not compiled yet" if seconds == 40 else "nothing is compiled")
    assert loaded == [{}, {}, {"fast": True}]


def test_a_bug_is_not_an_open_row():
    with pytest.raises(RuntimeError, match="shapes"), Results().section("first"):
        raise RuntimeError("shapes do not fit")


def test_parity_is_a_fraction_of_the_range():
    reference = [np.array([-1.0, 0.0]), np.array([0.0, 1.0])]
    assert parity(reference, [each + 0.02 for each in reference]) == pytest.approx(0.01)


def test_variants_take_turns_and_each_is_first_as_often():
    order: list[str] = []
    variants = {name: lambda number, name=name: order.append(name) for name in "abc"}
    timed = in_turns(variants, 6, Budget.of(60), CPU, warm_up=0)
    rounds = ["".join(order[at : at + 3]) for at in range(0, 18, 3)]
    assert sorted(rounds) == ["abc", "abc", "bca", "bca", "cab", "cab"]
    assert {len(each.ms) for each in timed.values()} == {6}


def test_warm_up_is_not_counted_and_a_spent_budget_leaves_the_fewest_rounds():
    calls: list[int] = []
    timed = in_turns({"a": calls.append}, 100, Budget.of(0), CPU, warm_up=2)["a"]
    assert len(timed.ms) == len(timed.values) == MIN_ROUNDS
    assert len(calls) == MIN_ROUNDS + 2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measurements of a machine without a GPU, at once."""

    def measure(results: Results, name: str, budget: Budget) -> None:
        results.add("act, tiny", p50_ms=2.5, n=3)

    monkeypatch.setitem(parts.MEASURES, "act", parts.MEASURES["act"]._replace(small=measure))
    monkeypatch.setattr("wla.runtime.device", lambda name=None: CPU)


@pytest.mark.usefixtures("quick")
def test_without_bundled_weights_the_small_rows_are_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "bundled", lambda kind: {})
    results = run_benchmarks(BenchConfig(part="act", out=tmp_path / "bench.jsonl"))
    assert results.rows == {}
    assert "nano-memory is not bundled here" in results.open["act, nano"]


@pytest.mark.usefixtures("quick")
def test_a_run_stores_a_line_and_the_next_one_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = BenchConfig(part="act", out=tmp_path / "new" / "bench.jsonl", minutes=0.1)
    results = run_benchmarks(config)
    assert results.open == {"act, full size": NO_GPU}
    first = capsys.readouterr().out
    run_benchmarks(config)
    second = capsys.readouterr().out
    assert "open: needs a GPU" in first
    assert first.count("p50 2.5 ms, n 3") == 1
    assert second.count("p50 2.5 ms, n 3") == 2
    line, _ = map(json.loads, (tmp_path / "new" / "bench.jsonl").read_text().splitlines())
    assert line["command"] == "wla bench act --minutes 0.1"
    assert line["rows"] == {"act, tiny": {"p50 ms": 2.5, "n": 3}}
    assert {"date", "commit", "cpu", "cores", "threads", "gpus", "load", "torch"} <= line.keys()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path: Path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*name another file with --out"):
        run_benchmarks(BenchConfig(part="act", out=tmp_path / "taken" / "bench.jsonl"))
