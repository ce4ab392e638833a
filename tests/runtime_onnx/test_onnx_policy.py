"""A policy in ONNX answers as its checkpoint does, in a process that cannot import torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import record
import tiny_qwen
import torch
from test_torch_free import SOURCE, run

from wla.cli.main import main
from wla.models.experts.configs import OneStepConfig
from wla.policy.checkpoint import save_checkpoint
from wla.policy.hub import fetch_checkpoint
from wla.policy.wla_policy import load_policy
from wla.runtime_onnx import OnnxPolicy
from wla.runtime_onnx.noise import normal


@pytest.mark.parametrize("shape", [(1,), (3, 5), (16,), (1, 8, 5), (2, 16, 7)])
@pytest.mark.parametrize("seed", [0, 7, 1_000_003, 2**62 + 5])
def test_noise_is_that_of_torch(shape, seed):
    expected = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    np.testing.assert_allclose(normal(seed, shape), expected.numpy(), atol=1e-5)


def test_a_folder_without_a_policy_in_onnx_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no policy in ONNX here; write one with wla export"):
        OnnxPolicy(tmp_path)


def test_a_policy_that_is_not_exported_is_refused_in_one_line(tmp_path, capsys):
    save_checkpoint(tiny_qwen.checkpoint(), tmp_path / "full")
    assert main(["export", str(tmp_path / "full"), "--format", "onnx", "--out", str(tmp_path / "out")]) == 2
    assert "only policies with a nano backbone are exported to ONNX" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """`nano-memory` with an arbitrary single step."""
    checkpoint = fetch_checkpoint("nano-memory")
    expert = checkpoint.config.model.action_expert.replace(one_step=OneStepConfig(), sampling_shift=0.5)
    config = checkpoint.config.replace(model=checkpoint.config.model.replace(action_expert=expert))
    model = config.model.build()
    model.load_state_dict(model.state_dict() | checkpoint.model.state_dict())
    torch.nn.init.normal_(model.action_expert.one_step, generator=torch.Generator().manual_seed(0))
    folder = tmp_path_factory.mktemp("onnx") / "checkpoint"
    save_checkpoint(replace(checkpoint, config=config, model=model), folder)
    return folder


@pytest.fixture(scope="module")
def exported(policy) -> Path:
    """In a process of its own: checks of shapes, as in tests, are none of what can be traced."""
    out = policy.with_name("policy")
    command = [sys.executable, "-m", "wla", "export", str(policy), "--format", "onnx", "--out", str(out)]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_text_memory_and_actions_are_those_of_its_checkpoint(exported, policy):
    own, reference = OnnxPolicy(exported, threads=1), load_policy(policy)
    assert own.robot_spec == reference.robot_spec
    seen = record.observations()
    views = [view for _, view in seen]
    ours, theirs = ([policy.reset(text, seed=i) for i, (text, _) in enumerate(seen)] for policy in (own, reference))
    for steps in (None, 1, 4, None):
        mine = own.act_batch(views, ours, flow_steps=steps)
        expected = reference.act_batch(views, theirs, flow_steps=steps)
        for (chunk, after), (wanted, then) in zip(mine, expected, strict=True):
            np.testing.assert_allclose(chunk.actions, wanted.actions, atol=1e-4)
            assert (chunk.subtasks, chunk.replan_steps) == (wanted.subtasks, wanted.replan_steps)
            assert after == then
        ours, theirs = [state for _, state in mine], [state for _, state in expected]


@pytest.mark.slow
def test_it_acts_without_torch(exported):
    run(
        """
        import numpy as np
        from wla.runtime_onnx import OnnxPolicy
        from wla.types import Observation

        policy = OnnxPolicy(sys.argv[1])
        spec = policy.robot_spec.observation
        images = {name: np.zeros((*size, 3), np.uint8) for name, size in spec.cameras.items()}
        seen = Observation(images, np.zeros(spec.state_dim, np.float32))
        state = policy.reset("put the red block into the bowl")
        chunk, state = policy.act(seen, state)
        assert chunk.actions.shape == (policy.chunk_size, policy.robot_spec.action.dim)
        assert chunk.subtasks
        """,
        str(exported),
        blocked=("torch", "diffusers"),
    )


@pytest.mark.slow
def test_what_it_does_not_do_is_refused(exported, tmp_path):
    policy, (text, view) = OnnxPolicy(exported), record.observations(1)[0]
    state = policy.reset(text)
    with pytest.raises(ValueError, match="predicts no images; load the checkpoint"):
        policy.act(view, state, imagine=True)
    with pytest.raises(ValueError, match=r"continues no other chunk \(prefix\)"):
        policy.act(view, state, prefix=np.zeros((1, policy.robot_spec.action.dim), np.float32))
    damaged = Path(shutil.copytree(exported, tmp_path / "damaged"))
    (damaged / "read_text.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"read_text.onnx: damaged or no graph .*export the policy again"):
        OnnxPolicy(damaged)
    (damaged / "read_text.onnx").unlink()
    with pytest.raises(ValueError, match=r"read_text.onnx: is missing; export the policy again"):
        OnnxPolicy(damaged)
