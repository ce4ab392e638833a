"""The functions that are compiled give the texts of the reference, and its chunks up to rounding: 1e-5 of the range."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.models.configs import MaskedDraftsConfig
from wla.models.experts.action_expert import ActionExpert
from wla.models.experts.configs import OneStepConfig
from wla.models.inference.compiled_parts import CompiledActionExpert, with_functions
from wla.models.inference.function_sets import acting_functions
from wla.models.inference.sampling import ActionVelocity, StartSampling
from wla.models.wla import WLA
from wla.policy.wla_policy import WLAPolicy
from wla.types import PolicyState


@pytest.fixture(scope="module")
def reference() -> WLAPolicy:
    return WLAPolicy(tiny.checkpoint(), name="tiny", checkpoint_sha256="0")


@pytest.fixture(scope="module")
def fast(reference: WLAPolicy) -> WLAPolicy:
    policy = copy(reference)
    policy.model = with_functions(reference.model, acting_functions(reference.model).modules)
    return policy


def begun(policy: WLAPolicy, rows: int) -> list[PolicyState]:
    """Episodes with prompts of several lengths; every third has a draft that fails, every third none."""
    states = []
    for row in range(rows):
        state = policy.reset(tiny.INSTRUCTIONS[row % 2] + " again" * (row // 2), seed=row)
        states.append(replace(state, subtasks=tiny.SUBTASKS[: row % 3]))
    return states


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("flow_steps", [None, 1])
def test_same_answers(reference, fast, rows, flow_steps):
    views, states = [tiny.observation(row) for row in range(rows)], begun(reference, rows)
    for _ in range(2):  # the second call has drafts that hold
        expected = reference.act_batch(views, states, flow_steps=flow_steps)
        answers = fast.act_batch(views, states, flow_steps=flow_steps)
        for (ours, after), (theirs, state) in zip(answers, expected, strict=True):
            assert ours.subtasks == theirs.subtasks
            assert after.memory == state.memory
            np.testing.assert_allclose(ours.actions, theirs.actions, atol=2e-6, rtol=0)  # the range is 0.2
        states = [state for _, state in expected]


def test_several_chunks_and_images_of_one_encoding(reference, fast):
    views, states = [tiny.observation(row) for row in range(2)], begun(reference, 2)
    ours, theirs = (policy.sample_actions(policy.encode(views, states), 3) for policy in (fast, reference))
    np.testing.assert_allclose(ours, theirs, atol=2e-6, rtol=0)
    images = [policy.act(views[0], states[0], imagine=True)[0].subgoal for policy in (fast, reference)]
    assert np.abs(images[0].astype(int) - images[1]).max() <= 1


def test_padded_dimensions_stay_zero(reference, fast):
    expert, states = reference.model.action_expert, tiny.queries(2)
    noise, proprio = torch.randn(2, tiny.CHUNK, tiny.ACTION), torch.zeros(2, tiny.STATE)
    dims = torch.tensor([1, 2])
    with torch.inference_mode():
        ours = fast.model.action_expert.sample(states, proprio, noise, dims=dims)
        theirs = expert.sample(states, proprio, noise, dims=dims)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not ours[0, :, 1].any()


LAST = tiny.CHUNK - 1


@pytest.mark.parametrize("one_step", [None, OneStepConfig()])
@pytest.mark.parametrize("max_delay", [0, LAST])
@pytest.mark.parametrize(
    ("length", "delay"), [(0, None), (1, None), (LAST, None), (LAST, 0), (LAST, 1), (tiny.CHUNK, 2)]
)
def test_chunks_that_continue_another_are_those_of_the_reference(max_delay, one_step, length, delay):
    config = tiny.model_config().action_expert.replace(max_delay=max_delay, one_step=one_step, sampling_shift=0.5)
    torch.manual_seed(0)
    expert = ActionExpert(config, tiny.WIDTH).eval()
    if expert.one_step is not None:
        torch.nn.init.normal_(expert.one_step)
    fast = CompiledActionExpert(expert, StartSampling(expert), ActionVelocity(expert))
    noise, proprio, dims = torch.randn(4, tiny.CHUNK, tiny.ACTION), torch.randn(2, tiny.STATE), torch.tensor([2, 1])
    prefix = torch.randn(2, length, tiny.ACTION) * (torch.arange(tiny.ACTION) < dims[:, None])[:, None]
    with torch.inference_mode():
        for steps in (1, 3):
            free = expert.sample(tiny.queries(2), proprio, noise, steps, dims=dims)
            ours, theirs = (
                each.sample(tiny.queries(2), proprio, noise, steps, prefix=prefix, delay=delay, dims=dims)
                for each in (fast, expert)
            )
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
            continues = (length if delay is None else delay) > 0 if max_delay else length > 0
            assert continues != torch.equal(theirs, free)


def test_a_prefix_that_cannot_be_continued_is_refused_by_both(reference, fast):
    view, state = tiny.observation(), begun(reference, 1)[0]
    for policy in (reference, fast):
        with pytest.raises(ValueError, match=f"a prefix of {tiny.CHUNK + 1} actions"):
            policy.act(view, state, prefix=np.zeros((tiny.CHUNK + 1, tiny.ACTION), np.float32))


def test_half_precision_within_its_rounding():
    model = WLA(tiny.model_config()).eval().to(torch.bfloat16)
    fast = with_functions(model, acting_functions(model).modules)
    noise, proprio = torch.randn(2, tiny.CHUNK, tiny.ACTION), torch.zeros(2, tiny.STATE)
    states = [layer.bfloat16() for layer in tiny.queries(2)]
    with torch.inference_mode():
        ours, theirs = (m.action_expert.sample(states, proprio, noise) for m in (fast, model))
    assert ours.dtype == theirs.dtype == torch.float32
    assert (ours - theirs).abs().max() < 0.05


def test_products_in_half_precision_within_a_hundredth_of_the_range(reference):
    fast = copy(reference)
    fast.model = with_functions(reference.model, acting_functions(reference.model, "bfloat16").modules)
    views, states = [tiny.observation(row) for row in range(3)], begun(reference, 3)
    (ours, theirs) = ([chunk.actions for chunk, _ in policy.act_batch(views, states)] for policy in (fast, reference))
    difference = np.abs(np.stack(ours) - np.stack(theirs)).max()
    assert 1e-7 < difference < 2e-3, "the range is 0.2"


def test_saving_a_fast_policy_saves_the_reference(fast, tmp_path):
    fast.save_pretrained(tmp_path / "saved")
    assert WLAPolicy.from_pretrained(tmp_path / "saved").chunk_size == tiny.CHUNK


def test_examples_fit_the_functions(reference):
    functions = acting_functions(reference.model)
    with torch.inference_mode():
        for name, module in functions.modules.items():
            example = functions.examples[name]
            tensors = list(example.tensors)
            if name == "read_prompt":
                tensors[0][:, : sum(reference.model.backbone.image_tokens.values())] = tiny.SPECIAL_TOKENS.index(
                    "<|image_pad|>"
                )
            assert module(*tensors)


@pytest.mark.parametrize("rows", [1, 3])
def test_drafts_of_the_functions_are_those_of_the_reference(rows, monkeypatch):
    config = tiny.model_config().replace(masked_drafts=MaskedDraftsConfig(tokens=4, rank=2))
    model = WLA(config).eval()
    assert model.drafter is not None
    for adapter in model.drafter.adapters:
        torch.nn.init.normal_(adapter.up, std=0.3, generator=torch.Generator().manual_seed(1))
    checkpoint = tiny.checkpoint()
    policy = WLAPolicy(replace(checkpoint, model=model), name="tiny", checkpoint_sha256="0")
    fast = copy(policy)
    fast.model = with_functions(model, acting_functions(model).modules)
    seen: dict[str, list] = {"reference": [], "fast": []}
    for name, each in (("reference", policy.model.drafter), ("fast", fast.model.drafter)):
        inner = each.draft
        monkeypatch.setattr(each, "draft", lambda *a, n=name, f=inner: seen[n].append(f(*a)) or seen[n][-1])
    views, states = [tiny.observation(row) for row in range(rows)], begun(policy, rows)
    answers = [each.act_batch(views, states) for each in (policy, fast)]
    for (ours, _), (theirs, _) in zip(*answers, strict=True):
        assert ours.subtasks == theirs.subtasks
        np.testing.assert_allclose(ours.actions, theirs.actions, atol=2e-6, rtol=0)
    assert seen["reference"], "random weights need decoding"
    for ours, theirs in zip(seen["fast"], seen["reference"], strict=True):
        assert ours.tolist() == theirs.tolist()
