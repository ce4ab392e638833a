from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from parallel_run import MUON, STEPS, STOP, TinyPolicy, full_precision, loop, write_data

from wla import runtime
from wla.policy.checkpoint import read_tensors
from wla.training.parallel import blocks
from wla.training.trainer import train

HERE = Path(__file__).parent


def torchrun(*words: object) -> None:
    """The same Python with the same paths, twice."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *map(str, words)], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[Path]:
    """Whole runs and halves in one process and in two."""
    root = tmp_path_factory.mktemp("runs")
    write_data(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "autocast_dtype", full_precision)
        train(TinyPolicy(root / "data"), loop(), root / "one")
        train(TinyPolicy(root / "data"), loop(muon=MUON), root / "one with Muon")
        with pytest.raises(KeyboardInterrupt):
            train(TinyPolicy(root / "data", interrupted_by=0), loop(), root / "one then two")
        torchrun(HERE / "parallel_run.py", root)
        train(TinyPolicy(root / "data"), loop(), root / "two then one", resume=True)
        yield root


def metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def largest_difference(a: Path, b: Path) -> float:
    """Between the averaged weights of two runs."""
    ours, theirs = (read_tensors(out / "checkpoint" / "model.safetensors") for out in (a, b))
    assert ours.keys() == theirs.keys()
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


# Adam divides gradients by their size, so where they are nearly zero the order of a sum shows in the weights; Muon
# computes in bfloat16.
@pytest.mark.parametrize(("how", "tolerance"), [("", 1e-4), (" with Muon", 1e-2)])
def test_two_processes_compute_what_one_does(runs, how, tolerance):
    one, two = metrics(runs / f"one{how}"), metrics(runs / f"two{how}")
    assert [row["step"] for row in two] == list(range(STEPS))
    for ours, theirs in zip(two, one, strict=True):
        for term in ("loss", "world", "grad_norm", "lr"):
            assert ours[term] == pytest.approx(theirs[term], abs=1e-4), (ours["step"], term)
    assert largest_difference(runs / f"one{how}", runs / f"two{how}") < tolerance


def test_a_run_goes_on_in_another_number_of_processes(runs):
    for way in ("one then two", "two then one"):
        assert [row["step"] for row in metrics(runs / way)] == list(range(STEPS))
        for ours, theirs in zip(metrics(runs / way), metrics(runs / "one"), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6), (way, ours["step"])
        assert largest_difference(runs / way, runs / "one") < 1e-4


def test_ctrl_c_in_one_process_stops_all_together(runs):
    for rank in range(2):
        assert f"after step {STOP}, saved" in (runs / f"stopped {rank}").read_text()


def test_mistakes_stop_all_processes_with_one_line(runs):
    for rank in range(2):
        assert (
            "1 micro-batches cannot be shared by 2 processes: set loop.micro_batches=2"
            in (runs / f"error 0 {rank}").read_text()
        )
    assert "two holds a run already" in (runs / "error 1 0").read_text()
    assert "another process cannot go on" in (runs / "error 1 1").read_text()


def test_the_runs_had_micro_batches_without_actions(runs):
    task = TinyPolicy(runs / "data")
    for number in range(20):
        task.losses(0, 2, torch.device("cpu"), torch.Generator().manual_seed(number))
    assert len(set(task.seen)) == 2


def test_the_blocks_of_backbone_and_experts_are_units(runs):
    model = TinyPolicy(runs / "data").checkpoint.model
    assert model.world_expert is not None
    found = set(blocks(model))
    assert found >= {
        *model.backbone.text.layers,
        *model.action_expert.blocks,
        *model.world_expert.sana.transformer_blocks,
    }
    assert not any(inner in found for block in found for inner in block.modules() if inner is not block)
