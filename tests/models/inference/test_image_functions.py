"""The functions that are compiled imagine what the reference does, score as it does, and candidates take few passes."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from wla.models.configs import ValueConfig, WLAConfig
from wla.models.inference.compiled_images import with_image_functions
from wla.models.inference.compiled_parts import with_functions
from wla.models.inference.compiled_reading import CompiledBackbone
from wla.models.inference.function_sets import acting_functions, image_functions, value_functions
from wla.models.value_model import ValueModel
from wla.models.wla import WLA
from wla.policy.best_of_n import BestOfNPolicy, BestOfNPolicyConfig
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig
from wla.policy.wla_policy import WLAPolicy
from wla.types import FrameContext

KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "guided": {"guidance": 3.0, "flow_steps": 3},
    "current frame": {"condition_on_current_frame": True, "interpolation_scale": 1, "sampling_shift": 3.0},
    "actions": {"actions": tiny.action_conditioned_config().world_expert.actions},
}
Calls = Counter[str]


def counted(name: str, function: nn.Module, calls: Calls):
    def run(*tensors):
        calls[name] += 1
        return function(*tensors)

    return run


def policy_of(config: WLAConfig) -> WLAPolicy:
    torch.manual_seed(0)
    checkpoint = replace(
        tiny.checkpoint(), config=CheckpointConfig(model=config, prompt=tiny.PROMPT), model=WLA(config).eval()
    )
    return WLAPolicy(checkpoint, name="tiny", checkpoint_sha256="0")


def fast_policy(policy: WLAPolicy, calls: Calls, precision: str = "float32") -> WLAPolicy:
    fast, model = copy(policy), policy.model
    acting, images = (functions(model, precision).modules for functions in (acting_functions, image_functions))
    fast.model = with_functions(model, {name: counted(name, each, calls) for name, each in acting.items()})
    fast.model = with_image_functions(fast.model, {name: counted(name, each, calls) for name, each in images.items()})
    return fast


def value() -> ValueCheckpoint:
    torch.manual_seed(1)
    backbone = tiny.model_config().backbone.replace(cameras={"front": 32})
    model = ValueModel(ValueConfig(backbone=backbone)).eval()
    return ValueCheckpoint(ValueCheckpointConfig(model=model.config, prompt=tiny.PROMPT), model, tiny.tokenizer())


def fast_value(reference: ValueCheckpoint, calls: Calls) -> ValueCheckpoint:
    model = reference.model
    functions = value_functions(model.config, model.backbone).modules
    named = {name: counted(f"value: {name}", each, calls) for name, each in functions.items()}
    return replace(reference, model=model.with_backbone(CompiledBackbone(model.backbone, named)))


def same_images(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal within 1e-4 of the range on average: what was between two levels may be either."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1
    assert difference.mean() < 255e-4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 3])
def test_images_are_those_of_the_reference(kind, rows, monkeypatch):
    monkeypatch.setattr("wla.models.inference.compiled_images.MAX_ROWS", 2)  # several batches
    config = tiny.model_config()
    reference = policy_of(config.replace(world_expert=config.world_expert.replace(**KINDS[kind])))
    fast = fast_policy(reference, Counter())
    views = [tiny.observation(row) for row in range(rows)]
    states = [reference.reset(text, seed=row) for row, text in enumerate((*tiny.INSTRUCTIONS, "press")[:rows])]
    ours, theirs = (policy.encode(views, states) for policy in (fast, reference))
    actions = reference.sample_actions(theirs, 2) if reference.action_conditioned else None
    for steps in (None, 1):
        found, expected = (
            policy.predict_images(encoding, samples=2, flow_steps=steps, actions=actions)
            for policy, encoding in ((fast, ours), (reference, theirs))
        )
        same_images(found, expected)
        assert len({image.tobytes() for image in expected.reshape(rows * 2, -1)}) == rows * 2
    (chunk, _), (other, _) = (policy.act(views[0], states[0], imagine=True) for policy in (fast, reference))
    same_images(chunk.subgoal, other.subgoal)


@pytest.mark.parametrize("kind", KINDS)
def test_latents_are_those_of_the_reference(kind):
    config = tiny.model_config()
    model = policy_of(config.replace(world_expert=config.world_expert.replace(**KINDS[kind]))).model
    fast = with_image_functions(model, image_functions(model).modules)
    shape = (2, 4, config.world_expert.latent_size, config.world_expert.latent_size)
    noise, tokens = torch.randn(shape), torch.randn(2, config.backbone.image_tokens["front"], tiny.WIDTH)
    frame = torch.randn(shape) if model.config.world_expert.condition_on_current_frame else None
    empty = [-layer for layer in tiny.queries(2)]
    with torch.inference_mode():
        ours, theirs = (
            expert.sample(
                expert.condition(tokens, tiny.queries(2), frame),
                noise,
                expert.condition(tokens, empty, frame) if model.config.world_expert.guidance != 1 else None,
                4,
            )
            for expert in (fast.world_expert, model.world_expert)
        )
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_products_in_half_precision_change_images_a_little():
    reference = policy_of(tiny.action_conditioned_config())
    view, state = tiny.observation(), reference.reset(tiny.INSTRUCTIONS[0])
    ours, theirs = (
        policy.act(view, state, imagine=True)[0].subgoal.astype(int)
        for policy in (fast_policy(reference, Counter(), "bfloat16"), reference)
    )
    assert 0 < np.abs(ours - theirs).max() < 25


def test_the_current_frame_is_encoded_once():
    config, calls = tiny.model_config(), Calls()
    frame = config.world_expert.replace(condition_on_current_frame=True)
    fast = fast_policy(policy_of(config.replace(world_expert=frame)), calls)
    for seed in range(3):
        fast.act(tiny.observation(), fast.reset(tiny.INSTRUCTIONS[0], seed=seed), imagine=True)
    assert calls["encode_image"] == 1
    assert calls["decode_image"] == 3


def test_scores_are_those_of_the_reference():
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    contexts = [
        FrameContext(text, "reach", row, row // 2) for row, text in enumerate((*tiny.INSTRUCTIONS, "a", "b b", ""))
    ]
    reference = value()
    ours, theirs = (judge.score(contexts, images) for judge in (fast_value(reference, Counter()), reference))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert len(set(theirs)) == 5


@pytest.mark.parametrize("options", [{}, {"memory_reset": True}, {"action_conditioning": False}])
@pytest.mark.parametrize("count", [2, 8])
def test_the_chosen_candidate_is_that_of_the_reference_in_few_passes(count, options):
    calls, reference, judge = Calls(), policy_of(tiny.action_conditioned_config()), value()
    config = BestOfNPolicyConfig(num_candidates=count, **options)
    fast = BestOfNPolicy(fast_policy(reference, calls), fast_value(judge, calls), config)
    plain = BestOfNPolicy(reference, judge, config)
    chosen = set()
    for seed in range(4):
        view = tiny.observation(seed)
        state = replace(plain.reset(tiny.INSTRUCTIONS[seed % 2], seed=seed), subtasks=tiny.SUBTASKS[:1])
        calls.clear()
        ours, theirs = (policy.act(view, state)[0] for policy in (fast, plain))
        # The memory is empty in all of them, so that the candidates from an empty one are the others again.
        scores = theirs.candidates.scores
        assert scores[ours.candidates.selected] == pytest.approx(scores[theirs.candidates.selected], abs=1e-6)
        np.testing.assert_allclose(ours.candidates.scores, theirs.candidates.scores, atol=1e-4)
        np.testing.assert_allclose(ours.actions, theirs.actions, atol=2e-6)
        same_images(ours.candidates.images, theirs.candidates.images)
        chosen.add(theirs.candidates.selected)
        once = ("read_prompt", "start_sampling", "start_images", "decode_image", "value: read_prompt")
        assert [calls[name] for name in once] == [1] * len(once)
        assert calls["image_velocity"] == reference.imagination.flow_steps
        assert calls["action_velocity"] == reference.model.config.action_expert.flow_steps
    assert len(chosen) > 1 or count == 2


def test_examples_fit_the_functions():
    for kind in KINDS:
        config = tiny.model_config()
        functions = image_functions(
            policy_of(config.replace(world_expert=config.world_expert.replace(**KINDS[kind]))).model
        )
        with torch.inference_mode():
            for name, module in functions.modules.items():
                assert module(*functions.examples[name].tensors)
