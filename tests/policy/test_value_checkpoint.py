from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.data.memory import MemoryConfig
from wla.data.prompts.special_tokens import location_name
from wla.envs.registry import make_env
from wla.models.configs import ValueConfig
from wla.models.value_model import MAX_STEPS, ValueModel, discounted_return
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig, load_value
from wla.policy.wla_policy import load_policy
from wla.types import FrameContext

GO = FrameContext("go")


def value(seed: int = 0) -> ValueCheckpoint:
    torch.manual_seed(seed)
    backbone = tiny.model_config().backbone.replace(cameras={"front": 32})
    model = ValueModel(ValueConfig(backbone=backbone)).eval()
    return ValueCheckpoint(ValueCheckpointConfig(model=model.config, prompt=tiny.PROMPT), model, tiny.tokenizer())


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_scores_lie_between_0_and_1_and_depend_on_image_and_instruction():
    judge, images = value(), random_images(2)
    same = judge.score([FrameContext(tiny.INSTRUCTIONS[0])] * 2, images)
    assert ((same > 0) & (same < 1)).all()
    assert same[0] != same[1]
    assert judge.score([FrameContext(tiny.INSTRUCTIONS[1])], images[:1])[0] != same[0]


def test_a_score_does_not_depend_on_the_rest_of_the_batch():
    judge, images = value(), random_images(2)
    frame_contexts = [FrameContext(text) for text in tiny.INSTRUCTIONS]  # of different lengths
    together = judge.score(frame_contexts, images)
    alone = [judge.score([context], image[None])[0] for context, image in zip(frame_contexts, images, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_images_of_another_size_are_resized():
    judge, image = value(), np.full((1, 64, 64, 3), 80, np.uint8)
    assert judge.score([GO], image) == pytest.approx(judge.score([GO], image[:, ::2, ::2]), abs=1e-6)


def test_a_saved_model_gives_the_same_scores(tmp_path):
    judge = value()
    judge.save(tmp_path / "value")
    loaded = load_value(tmp_path / "value")
    assert loaded.config == judge.config
    np.testing.assert_array_equal(loaded.score([GO], random_images(1)), judge.score([GO], random_images(1)))
    with pytest.raises(ValueError, match="no value model here"):
        load_value(tmp_path)


def test_a_value_model_for_another_camera_is_refused(tmp_path):
    value().save(tmp_path / "value")
    assert load_value(tmp_path / "value", camera="front").camera == "front"
    with pytest.raises(ValueError, match="trained for images of camera 'front', and these are of 'overhead'; train"):
        load_value(tmp_path / "value", camera="overhead")


def test_discounted_return():
    success, steps_to_go = torch.tensor([True, True, False]), torch.tensor([0, 2, 0])
    assert discounted_return(success, steps_to_go, 0.5).tolist() == [1.0, 0.25, 0.0]


def test_the_loss_has_its_minimum_at_the_expected_value():
    judge = value()
    returns = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    odds = torch.logit(torch.linspace(0.05, 0.95, 19))
    losses = [float(judge.model.loss(torch.full((8,), float(odd)), returns)) for odd in odds]
    assert torch.sigmoid(odds[int(np.argmin(losses))]).item() == pytest.approx(3 / 8, abs=0.026)


def test_the_prompt_holds_neither_memory_nor_state():
    judge = value()
    tokens, mask, times = judge.model_inputs([replace(GO, episode_step=40, subtask_step=3), GO])
    first = judge.tokenizer.convert_tokens_to_ids(location_name(0))
    assert not ((tokens >= first) & (tokens < first + tiny.PROMPT.locations)).any()
    assert torch.equal(tokens[0], tokens[1])
    assert mask.all()
    assert times.tolist() == [[40, 3], [0, 0]]


def test_times_beyond_the_maximum_are_clipped():
    judge, image = value(), random_images(1)
    first, second = (judge.score([replace(GO, episode_step=steps)], image)[0] for steps in (MAX_STEPS, 10 * MAX_STEPS))
    assert first == second


def test_scores_depend_on_both_times():
    judge, image = value(), random_images(1)
    scores = {
        judge.score([context], image)[0] for context in (GO, replace(GO, episode_step=40), replace(GO, subtask_step=40))
    }
    assert len(scores) == 3


@pytest.mark.parametrize("conditioned", [True, False])
def test_only_a_prompt_with_memory_holds_the_current_subtask(conditioned):
    original = value()
    prompt = tiny.PROMPT.replace(memory=MemoryConfig()) if conditioned else tiny.PROMPT
    judge = replace(original, config=ValueCheckpointConfig(model=original.model.config, prompt=prompt))
    scores = {
        judge.score([replace(GO, subtask=subtask)], random_images(1))[0]
        for subtask in ("reach the block", "release it")
    }
    assert len(scores) == (2 if conditioned else 1)


def test_the_bundled_model_has_nano_memory_s_backbone_and_scores_a_stuck_episode_lower():
    judge = load_value("nano-value", camera="front")
    backbone = load_policy("nano-memory").model.backbone.state_dict()
    for key, weight in judge.model.backbone.state_dict().items():
        assert torch.equal(weight, backbone[key]), key
    env = make_env("tabletop", task="stack")
    raw, info = env.reset(seed=0)
    env.close()
    image = raw["images"]["front"][None]
    begun = FrameContext(info["instruction"], "release the red block", episode_step=18, subtask_step=2)
    assert (
        judge.score([begun], image)[0] > judge.score([replace(begun, episode_step=56, subtask_step=40)], image)[0] + 0.2
    )
