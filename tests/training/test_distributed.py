from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import tiny
import torch
from distributed_run import MUON, STEPS, STOP, TinyPolicy, full_precision, loop, write_data
from half_precision_run import half_precision
from micro_batch import micro_batch_losses
from test_trainer import Toy
from test_trainer import loop as toy_loop

from wla import runtime
from wla.run_folder import checkpoint_folder, state_folder
from wla.training.fsdp import repeated_blocks
from wla.training.train_state import Progress
from wla.training.trainer import train
from wla.weights import read_tensors

HERE = Path(__file__).parent


def torchrun(*arguments: object) -> subprocess.Popen[str]:
    """Starts two processes with the interpreter and paths of this one."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(HERE), str(HERE.parent), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


RECIPE = """
from test_trainer import Toy, loop
from wla.config import Config
from wla.training.configs import LoopConfig

class ToyTraining(Config):
    loop: LoopConfig

    def build(self):
        return Toy()

def config():
    return ToyTraining(loop=loop(8, micro_batches=2, device="cpu"))
"""


@pytest.fixture
def recipe(tmp_path) -> Path:
    path = tmp_path / "toy.py"
    path.write_text(RECIPE)
    return path


@pytest.mark.slow
def test_the_command_line_trains_in_two_processes(recipe, tmp_path):
    process = torchrun("-m", "wla", "train", recipe, "--out", tmp_path / "two")
    train(Toy(), toy_loop(8, micro_batches=2, device="cpu"), tmp_path / "one")
    output, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert output.count("checkpoint: ") == 1
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert [row["step"] for row in two] == list(range(8))
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], abs=1e-2)  # in bfloat16
    assert Progress.load(state_folder(tmp_path / "two") / "step.json") == Progress(step=8, files=2)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_torchrun_saves_and_stops(recipe, tmp_path, number):
    out = tmp_path / "run"
    process = torchrun("-m", "wla", "train", recipe, "loop.optim.steps=1000000", "--out", out)
    while not (out / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=120)
    assert "wla: interrupted: training stopped after step" in error
    steps = Progress.load(state_folder(out) / "step.json").step
    assert [row["step"] for row in metrics(out)] == list(range(steps))
    assert (checkpoint_folder(out) / "step").read_text() == str(steps)


no_deepspeed = pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed")


@pytest.fixture(scope="module", params=["fsdp2", pytest.param("zero1", marks=no_deepspeed)])
def runs(request, tmp_path_factory) -> Iterator[Path]:
    """Complete and interrupted runs in one process and in two."""
    root = tmp_path_factory.mktemp("runs")
    write_data(root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "autocast_dtype", full_precision)
        train(TinyPolicy(root / "data"), loop(), root / "one")
        train(TinyPolicy(root / "data"), loop(muon=MUON), root / "one with Muon")
        with pytest.raises(KeyboardInterrupt):
            train(TinyPolicy(root / "data", interrupted_by=0), loop(), root / "one then two")
        process = torchrun(HERE / "distributed_run.py", root, request.param)
        _, error = process.communicate(timeout=300)
        assert process.returncode == 0, error
        train(TinyPolicy(root / "data"), loop(), root / "two then one", resume=True)
        yield root


def metrics(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def largest_difference(a: Path, b: Path) -> float:
    """The largest difference between the averaged weights of two runs."""
    ours, theirs = (read_tensors(checkpoint_folder(out) / "model.safetensors") for out in (a, b))
    assert ours.keys() == theirs.keys()
    return max(float((ours[key] - theirs[key]).abs().max()) for key in ours)


@pytest.mark.slow
# Adam divides gradients by their size, so where they are nearly zero the order of a sum affects the weights; Muon
# computes in bfloat16.
@pytest.mark.parametrize(("optimizer", "tolerance"), [("", 1e-4), (" with Muon", 1e-2)])
def test_two_processes_compute_the_same_as_one(runs, optimizer, tolerance):
    if not (runs / f"two{optimizer}").exists():
        pytest.skip("ZeRO-1 does not support Muon")
    one, two = metrics(runs / f"one{optimizer}"), metrics(runs / f"two{optimizer}")
    assert [row["step"] for row in two] == list(range(STEPS))
    assert [row["step"] for row in two if "validation/loss" in row] == [3, 7, 9]
    for ours, theirs in zip(two, one, strict=True):
        for term in ("loss", "world", "grad_norm", "lr", *(name for name in theirs if name.startswith("validation/"))):
            assert ours[term] == pytest.approx(theirs[term], abs=1e-4), (ours["step"], term)
    assert largest_difference(runs / f"one{optimizer}", runs / f"two{optimizer}") < tolerance


@pytest.mark.slow
def test_blocks_are_gathered_in_the_precision_they_compute_in(tmp_path):
    write_data(tmp_path / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "autocast_dtype", half_precision)
        train(TinyPolicy(tmp_path / "data"), loop(), tmp_path / "one in half precision")
    process = torchrun(HERE / "half_precision_run.py", tmp_path)  # which looks at the precisions
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    one, two = (metrics(tmp_path / f"{name} in half precision") for name in ("one", "two"))
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=0.02)
    saved = read_tensors(checkpoint_folder(tmp_path / "two in half precision") / "model.safetensors")
    assert {value.dtype for value in saved.values() if value.is_floating_point()} == {torch.float32}


@pytest.mark.slow
def test_a_run_resumes_with_a_different_number_of_processes(runs):
    for run in ("one then two", "two then one"):
        assert [row["step"] for row in metrics(runs / run)] == list(range(STEPS))
        for ours, theirs in zip(metrics(runs / run), metrics(runs / "one"), strict=True):
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-6), (run, ours["step"])
        assert largest_difference(runs / run, runs / "one") < 1e-4


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_at_the_same_step(runs):
    for rank in range(2):
        assert f"after step {STOP}, saved" in (runs / f"stopped {rank}").read_text()


@pytest.mark.slow
def test_a_full_disk_in_one_process_stops_all_and_leaves_nothing_half_written(runs):
    for rank in range(2):
        assert "full: cannot write ([Errno 27] File too large" in (runs / f"full {rank}").read_text()
    files = {path.name for path in (runs / "full").iterdir()}
    assert files == {"steps", "loop.json", "recipe.json", "data.json", "metrics.jsonl", "metrics.png"}
    assert not list((runs / "full" / "steps").iterdir())


@pytest.mark.slow
def test_errors_stop_all_processes_with_one_line(runs):
    for rank in range(2):
        assert (
            "1 micro-batches do not divide among 2 processes: set loop.micro_batches=2"
            in (runs / f"error 0 {rank}").read_text()
        )
    assert "two holds a run already" in (runs / "error 1 0").read_text()
    assert "another process cannot continue" in (runs / "error 1 1").read_text()


@pytest.mark.slow
def test_the_runs_include_micro_batches_without_actions(runs):
    objective = TinyPolicy(runs / "data")
    for number in range(20):
        micro_batch_losses(objective, 0, 2, torch.Generator().manual_seed(number))
    assert len(set(objective.has_actions)) == 2


def test_blocks_of_backbone_and_experts_are_sharded_separately():
    model = tiny.checkpoint().model
    assert model.world_expert is not None
    blocks = set(repeated_blocks(model))
    assert blocks >= {
        *model.backbone.text.layers,
        *model.action_expert.blocks,
        *model.world_expert.sana.transformer_blocks,
    }
    assert not any(inner in blocks for block in blocks for inner in block.modules() if inner is not block)
