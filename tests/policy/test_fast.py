"""`load_policy(.., fast=True)`: compiled, cached and packaged functions, and one line where there can be none."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import tiny
import torch
from torch._inductor import config

from wla.cli.checkpoints import ExportArgs, export
from wla.hardware import multiplies_bfloat16
from wla.models.configs import ValueConfig
from wla.models.inference.function_sets import acting_functions
from wla.models.inference.package import FACTS, PACKINGS, cache_folder, facts, require_same
from wla.models.value_model import ValueModel
from wla.models.wla import WLA
from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig
from wla.policy.checkpoint_files import COMPILED
from wla.policy.compiled_functions import missing
from wla.policy.export_compiled import export_compiled
from wla.policy.fast import fast_model
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig, load_value
from wla.policy.wla_policy import WLAPolicy, load_policy


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Folder of a tiny checkpoint; nothing is cached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    WLAPolicy(tiny.checkpoint(), name="tiny", checkpoint_sha256="0").save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def no_compiler():
    with config.patch({"cpp.cxx": ("no-such-compiler",)}):
        yield


def line_of(capsys) -> str:
    """The one line that was said."""
    (line,) = capsys.readouterr().err.splitlines()
    return line


def acts(policy: WLAPolicy) -> np.ndarray:
    return policy.act(tiny.observation(), policy.reset(tiny.INSTRUCTIONS[0]))[0].actions


def test_without_a_compiler_the_reference_acts(saved, no_compiler, capsys):
    policy = load_policy(saved, fast=True)
    line = line_of(capsys)
    assert "no C++ compiler" in line
    assert "the reference path acts" in line
    np.testing.assert_array_equal(acts(policy), acts(load_policy(saved)))


def test_a_cache_that_cannot_be_written_is_reported(saved, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("wla.models.inference.package.compile_functions", lambda *_: None)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    acts(load_policy(saved, fast=True))
    assert "XDG_CACHE_HOME" in line_of(capsys)


def test_code_of_the_hub_is_not_loaded_untrusted(saved, no_compiler, capsys):
    (saved / COMPILED).mkdir()
    fast_model(WLA(tiny.model_config()).eval(), saved, trusted=False)
    assert "--trust-code" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "0"}, "another model"),
        ({"precision": "bfloat16"}, "compiled in 'bfloat16', not in float32 (--precision)"),
        ({"precision": None}, "compiled in 'None', not in float32"),
        ({"torch": "2.0"}, "torch '2.0'"),
        ({"wla": "0.0.1"}, "wla '0.0.1'"),
        ({"system": "Plan9 mips"}, "system 'Plan9 mips'"),
        (
            {"instruction_sets": ["avx1024"], "processor": "Another"},
            "another processor ('Another'), this one lacks 'avx1024'",
        ),
        ({"instruction_sets": None, "torch": None}, "torch 'None'"),
    ],
)
def test_code_for_something_else_is_refused(saved, no_compiler, capsys, change, message):
    model = WLA(tiny.model_config()).eval()
    (saved / COMPILED).mkdir()
    (saved / COMPILED / FACTS).write_text(json.dumps(facts(acting_functions(model)) | change))
    with pytest.raises(ValueError, match="compiled") as refusal:
        require_same(saved / COMPILED, facts(acting_functions(model)))
    assert message in str(refusal.value)
    acts(load_policy(saved, fast=True))
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("packings", "message"),
    [({}, ".pt2: cannot be loaded"), (None, "how weights are packed"), ("none", "how weights are packed")],
)
def test_a_damaged_package_is_reported(saved, no_compiler, capsys, packings, message):
    model = WLA(tiny.model_config()).eval()
    (saved / COMPILED).mkdir()
    names = acting_functions(model).modules
    stored = {PACKINGS: dict.fromkeys(names, packings)} if packings != "none" else {}
    (saved / COMPILED / FACTS).write_text(json.dumps(facts(acting_functions(model)) | stored))
    for name in names:
        (saved / COMPILED / f"{name}.pt2").write_bytes(b"damaged")
    acts(load_policy(saved, fast=True))
    assert message in capsys.readouterr().err


def test_a_processor_without_products_in_half_precision_says_so_and_takes_single(
    saved, no_compiler, capsys, monkeypatch
):
    monkeypatch.setattr("wla.models.inference.package.multiplies_bfloat16", lambda: False)
    (saved / COMPILED).mkdir()
    own = facts(acting_functions(WLA(tiny.model_config()).eval()))
    (saved / COMPILED / FACTS).write_text(json.dumps(own | {"torch": "2.0"}))
    acts(load_policy(saved, fast=True, precision="bfloat16"))
    first, second, _ = capsys.readouterr().err.splitlines()
    assert "amx_bf16" in first
    assert "float32 computes" in first
    assert "torch '2.0'" in second, "a package in float32 was looked at, and is refused for another reason"
    with pytest.raises(ValueError, match="amx_bf16"):
        export_compiled(saved, saved.parent / "exported", "bfloat16")


def test_functions_are_missing_until_they_are_in_the_cache(saved):
    functions = acting_functions(WLA(tiny.model_config()).eval())
    assert missing([functions, None]) == len(functions.modules)
    cache_folder(functions).mkdir(parents=True)
    assert missing([functions, None]) == 0


def test_half_precision_is_of_the_fast_path(saved):
    with pytest.raises(ValueError, match="--fast"):
        load_policy(saved, precision="bfloat16")
    with pytest.raises(ValueError, match="--format compiled"):
        export(ExportArgs(checkpoint=str(saved), precision="bfloat16", out=saved.parent / "exported"))


def test_flow_steps_of_a_policy_are_those_of_its_calls(saved):
    view, policy = tiny.observation(), load_policy(saved, flow_steps=1)
    state = policy.reset(tiny.INSTRUCTIONS[0])
    expected = load_policy(saved).act(view, state, flow_steps=1)[0].actions
    np.testing.assert_array_equal(policy.act(view, state)[0].actions, expected)
    assert not np.array_equal(policy.act(view, state, flow_steps=3)[0].actions, expected)


def test_an_export_replaces_nothing_and_needs_a_compiler(saved, no_compiler):
    with pytest.raises(ValueError, match="exists already"):
        export_compiled(saved, saved)
    with pytest.raises(ValueError, match=r"no C\+\+ compiler"):
        export_compiled(saved, saved.parent / "exported")
    assert not (saved.parent / "exported").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "error"), [("float32", 2e-6), ("bfloat16", 2e-3)])  # the range is 0.2
def test_compiled_functions_act_from_a_package_and_from_the_cache_without_a_compiler(
    saved, tmp_path, capsys, request, precision, error
):
    if precision == "bfloat16" and not multiplies_bfloat16():
        pytest.skip("this processor multiplies no matrices in bfloat16")
    # In a process of its own: the checks of types in tests know no sizes that are free.
    command = [sys.executable, "-m", "wla", "export", saved, "--format", "compiled", "--out", tmp_path / "exported"]
    subprocess.run([*command, "--precision", precision], check=True, stderr=subprocess.DEVNULL)
    torch.manual_seed(1)
    other = WLAPolicy(tiny.checkpoint(), name="other", checkpoint_sha256="0")
    other.save_pretrained(tmp_path / "other")
    request.getfixturevalue("no_compiler")
    capsys.readouterr()
    for folder in (tmp_path / "exported", saved, tmp_path / "other"):
        policy, reference = load_policy(folder, fast=True, precision=precision), load_policy(folder)
        assert not capsys.readouterr().err
        assert policy.checkpoint_sha256 == reference.checkpoint_sha256
        for rows in (1, 3):
            views = [tiny.observation(row) for row in range(rows)]
            states = [reference.reset(text) for text in (*tiny.INSTRUCTIONS, "press")[:rows]]
            for _ in range(2):
                found, expected = (each.act_batch(views, states) for each in (policy, reference))
                for (ours, _), (theirs, _) in zip(found, expected, strict=True):
                    if precision == "float32":  # texts of random weights are near ties
                        assert ours.subtasks == theirs.subtasks
                    np.testing.assert_allclose(ours.actions, theirs.actions, atol=error)
                states = [state for _, state in expected]


COMPILE = """
import sys
from wla.policy.value_checkpoint import load_value
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig, load_value
from wla.policy.wla_policy import load_policy

load_policy(sys.argv[1], imagination=True, fast=True)
load_value(sys.argv[2], fast=True)
"""


@pytest.mark.slow
def test_compiled_functions_choose_the_candidate_of_the_reference(saved, tmp_path, capsys, request):
    backbone = tiny.model_config().backbone.replace(cameras={"front": 32})
    model = ValueModel(ValueConfig(backbone=backbone)).eval()
    config = ValueCheckpointConfig(model=model.config, prompt=tiny.PROMPT)
    ValueCheckpoint(config, model, tiny.tokenizer()).save(tmp_path / "value")
    # In a process of its own: the checks of types in tests know no sizes that are free.
    subprocess.run([sys.executable, "-c", COMPILE, saved, tmp_path / "value"], check=True, stderr=subprocess.DEVNULL)
    request.getfixturevalue("no_compiler")
    policies = [load_policy(saved, imagination=True, fast=fast) for fast in (True, False)]
    values = [load_value(tmp_path / "value", fast=fast) for fast in (True, False)]
    assert not capsys.readouterr().err
    for count in (2, 3, 8):
        ours, theirs = (
            BestOfNPolicy(policy, value, BestOfNPolicyConfig(num_candidates=count)).act(
                tiny.observation(count), policy.reset(tiny.INSTRUCTIONS[0], seed=count)
            )[0]
            for policy, value in zip(policies, values, strict=True)
        )
        assert ours.candidates.selected == theirs.candidates.selected
        np.testing.assert_allclose(ours.actions, theirs.actions, atol=2e-6)
        difference = np.abs(ours.candidates.images.astype(int) - theirs.candidates.images)
        assert difference.max() <= 1
        assert difference.mean() < 255e-4
