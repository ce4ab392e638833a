from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import tiny_qwen
import torch

import wla
from wla.batch import left_pad
from wla.models.model import ModelInputs
from wla.models.wla import WLA
from wla.policy.checkpoint import save_checkpoint
from wla.types import MemoryItem, Observation


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "tiny"
    save_checkpoint(tiny.checkpoint(), path)
    return path


@pytest.fixture(scope="module")
def policy(folder):
    return wla.load_policy(folder, imagination=True)


def test_a_chunk_is_in_environment_units(policy):
    state = policy.reset("press the button")
    chunk, after = policy.act(tiny.observation(), state)
    assert chunk.actions.shape == (tiny.CHUNK, tiny.ACTION)
    assert chunk.actions.dtype == np.float32
    assert (np.abs(chunk.actions[:, 0]) <= np.float32(0.1)).all()
    assert chunk.subgoal is None
    assert all(isinstance(text, str) for text in chunk.subtasks)
    assert after.num_calls == 1
    assert after.subtasks == chunk.subtasks


def test_the_state_decides_and_nothing_else(policy):
    observation, state = tiny.observation(), policy.reset("press the button", seed=3)
    first, _ = policy.act(observation, state)
    policy.act(tiny.observation(5), policy.reset("put the red block in the bowl"))
    again, _ = policy.act(observation, state)
    np.testing.assert_array_equal(first.actions, again.actions)
    other, _ = policy.act(observation, replace(state, seed=4))
    assert not np.array_equal(first.actions, other.actions)


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_without_noise_seeds_give_the_same_chunk_and_candidates_still_differ(spread):
    checkpoint = tiny.checkpoint()
    quiet = replace(checkpoint, config=checkpoint.config.replace(action_noise=spread))
    policy = wla.WLAPolicy(quiet, name="tiny", checkpoint_sha256="abc")
    states = [policy.reset("press the button", seed=seed) for seed in (1, 2)]
    proposed = policy.sample_actions(policy.encode([tiny.observation()] * 2, states), 3)
    assert np.allclose(proposed[0, 0], proposed[1, 0], atol=1e-5) == (spread == 0)
    assert len({actions.tobytes() for actions in proposed.reshape(6, -1)}) >= 5


def test_a_batch_equals_its_members(policy):
    observations = [tiny.observation(i) for i in range(3)]
    states = [policy.reset(text, seed=i) for i, text in enumerate([*tiny.INSTRUCTIONS, "press it"])]
    together = policy.act_batch(observations, states, imagine=True)
    for observation, state, (chunk, after) in zip(observations, states, together, strict=True):
        alone, after_alone = policy.act(observation, state, imagine=True)
        np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-5)
        assert chunk.subtasks == alone.subtasks
        assert after == after_alone
        assert np.abs(chunk.subgoal.astype(int) - alone.subgoal).max() <= 1


def test_images_only_when_asked_and_loaded(policy, folder):
    chunk, _ = policy.act(tiny.observation(), policy.reset("press the button"), imagine=True)
    assert chunk.subgoal.shape == (32, 32, 3)
    assert chunk.subgoal.dtype == np.uint8
    lean = wla.load_policy(folder)
    assert lean.model.world_expert is None
    with pytest.raises(ValueError, match="without imagination"):
        lean.act(tiny.observation(), lean.reset("press the button"), imagine=True)


def test_the_image_is_of_the_chunk_that_is_run_where_actions_are_read():
    checkpoint, model = tiny.checkpoint(), WLA(tiny.action_conditioned_config()).eval()
    config = checkpoint.config.replace(model=model.config)
    policy = wla.WLAPolicy(replace(checkpoint, config=config, model=model), name="tiny", checkpoint_sha256="abc")
    seen, state = tiny.observation(), policy.reset("press the button", seed=3)
    chunk, _ = policy.act(seen, state, imagine=True)
    encoding = policy.encode([seen], [state])
    of_chunk = policy.predict_images(encoding, actions=chunk.actions[None, None])[0, 0]
    np.testing.assert_array_equal(chunk.subgoal, of_chunk)
    assert not np.array_equal(policy.predict_images(encoding)[0, 0], of_chunk)


def test_flow_steps_and_a_prefix_are_options_of_acting(policy):
    state = policy.reset("press the button", seed=3)
    default, same, one = (policy.act(tiny.observation(), state, flow_steps=steps)[0].actions for steps in (None, 3, 1))
    np.testing.assert_array_equal(default, same)
    assert not np.allclose(default, one)
    begun = default[:2] - 0.05
    continued = policy.act(tiny.observation(), state, prefix=begun, delay=1)[0].actions
    assert np.abs(continued[0] - begun[0]).max() < 0.5 * np.abs(default[0] - begun[0]).max()
    with pytest.raises(ValueError, match="a prefix of 50 actions"):
        policy.act(tiny.observation(), state, prefix=np.zeros((50, tiny.ACTION), np.float32))


def test_the_noise_of_a_checkpoint_can_be_chosen_when_it_is_loaded(folder, policy):
    calm = wla.load_policy(folder, action_noise=0.0)
    assert (policy.action_noise, calm.action_noise) == (1.0, 0.0)
    chunks = [calm.act(tiny.observation(), calm.reset("press the button", seed=seed))[0].actions for seed in (3, 4)]
    np.testing.assert_array_equal(*chunks)


def change(**fields: object) -> Observation:
    return replace(tiny.observation(), **fields)


IMAGES = dict(tiny.observation().images)
BAD = {
    "image size": (change(images={**IMAGES, "front": IMAGES["front"][:16]}), r"'front' is uint8 \(16, 32, 3\)"),
    "missing camera": (change(images={"front": IMAGES["front"]}), "camera 'wrist' is missing"),
    "state dimension": (
        change(state=np.zeros(5, np.float32)),
        r"is float32 \(5,\); this policy needs float32 \(3,\): x, y, width",
    ),
    "NaN": (change(state=np.array([0, np.nan, 0], np.float32)), "not finite in y"),
}


WRONG_KINDS = {
    "image dtype": (IMAGES["front"].astype(np.float32) / 255, None, r"'front' is float32 \(32, 32, 3\); .* uint8"),
    "image as a list": (IMAGES["front"].tolist(), None, "'front' is a list; this policy needs uint8"),
    "state as a list": (None, [0.0, 0.0, 0.0], r"state is a list; this policy needs float32 \(3,\): x, y, width"),
    "state as text": (None, np.array(["0", "0", "0"]), r"state is <U1 \(3,\); this policy needs float32"),
}


@pytest.mark.parametrize("name", WRONG_KINDS)
def test_observations_of_a_wrong_kind_are_named(policy, name):
    image, state, message = WRONG_KINDS[name]
    observation = tiny.observation()
    # Changed afterwards: in tests, unlike at a user's, the type itself refuses these.
    if image is not None:
        observation.images["front"] = image
    if state is not None:
        object.__setattr__(observation, "state", state)
    with pytest.raises(ValueError, match=message) as caught:
        policy.act(observation, policy.reset("press the button"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", BAD)
def test_bad_observations_are_named(policy, name):
    observation, message = BAD[name]
    with pytest.raises(ValueError, match=message) as caught:
        policy.act(observation, policy.reset("press the button"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("instruction", ["", "  \n"])
def test_empty_instructions_are_refused(policy, instruction):
    with pytest.raises(ValueError, match="instruction is empty"):
        policy.reset(instruction)


def test_unknown_policies_are_named(tmp_path):
    with pytest.raises(ValueError, match="no policy 'nonsense'"):
        wla.load_policy("nonsense")
    with pytest.raises(ValueError, match="not a checkpoint"):
        wla.load_policy(tmp_path)


KINDS = {
    "plain": {},
    "language": {"language": True},
    "language with the first frame": {"language": True, "first": True},
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> dict[str, bool]:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def qwen(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qwen") / "tiny"
    save_checkpoint(tiny_qwen.checkpoint(**kind), folder)
    return wla.load_policy(folder, imagination=True)


def walked(policy, steps: int, *, seed: int = 0, texts: tuple[str, ...] = ()):
    """The state after watching that many steps, with subtasks predicted on the way."""
    state = policy.reset("open the drawer", seed=seed)
    for step in range(steps):
        state = policy.observe(tiny_qwen.observation(100 + step), state)
    return replace(state, memory=tuple(MemoryItem(text, 0, 1) for text in texts))


def test_a_qwen_policy_acts_and_remembers(qwen, kind):
    state = qwen.reset("open the drawer")
    for step in range(4):
        chunk, state = qwen.act(tiny_qwen.observation(step), state)
        assert chunk.actions.shape == (tiny_qwen.CHUNK, tiny_qwen.ACTION)
        assert np.isfinite(chunk.actions).all()
        assert bool(kind.get("language")) or chunk.subtasks == ()
    assert state.num_calls == 4
    assert len(state.frame_history) == 2
    np.testing.assert_array_equal(state.frame_history[-1], tiny_qwen.observation(3).images["front"])
    np.testing.assert_array_equal(state.frame_history[0], tiny_qwen.observation(2).images["front"])
    np.testing.assert_array_equal(state.first_frame, tiny_qwen.observation(0).images["front"])


def test_equal_states_and_observations_give_equal_chunks(qwen):
    observation, state = tiny_qwen.observation(), walked(qwen, 3, seed=5, texts=("reach",))
    first, _ = qwen.act(observation, state, imagine=True)
    qwen.act(tiny_qwen.observation(9), walked(qwen, 1))
    again, _ = qwen.act(observation, state, imagine=True)
    np.testing.assert_array_equal(first.actions, again.actions)
    np.testing.assert_array_equal(first.subgoal, again.subgoal)
    assert first.subtasks == again.subtasks


def test_a_batch_of_qwen_equals_its_members(qwen):
    """Also where one episode has just begun and has no past yet."""
    observations = [tiny_qwen.observation(i) for i in range(3)]
    states = [walked(qwen, 0), walked(qwen, 4, seed=1, texts=("reach", "lift it.")), walked(qwen, 1, seed=2)]
    together = qwen.act_batch(observations, states, imagine=True)
    for observation, state, (chunk, _) in zip(observations, states, together, strict=True):
        alone, _ = qwen.act(observation, state, imagine=True)
        assert chunk.subtasks == alone.subtasks
        np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-5)
        assert np.abs(chunk.subgoal.astype(int) - alone.subgoal).max() <= 1


def test_past_and_first_frames_change_what_is_done(qwen, kind):
    observation, state = tiny_qwen.observation(), walked(qwen, 2)
    base, _ = qwen.act(observation, state)
    older = replace(state, frame_history=(255 - state.frame_history[0], state.frame_history[1]))
    assert not np.array_equal(qwen.act(observation, older)[0].actions, base.actions)
    newer = replace(state, frame_history=(state.frame_history[0], 255 - state.frame_history[1]))
    np.testing.assert_array_equal(qwen.act(observation, newer)[0].actions, base.actions)
    begun = qwen.act(observation, replace(state, first_frame=255 - state.first_frame))[0].actions
    assert np.array_equal(begun, base.actions) != bool(kind.get("first"))
    remembering = qwen.act(observation, replace(state, memory=(MemoryItem("reach", 0, 1),)))[0].actions
    assert np.array_equal(remembering, base.actions) != bool(kind.get("language"))


def test_decoding_and_queries_on_the_cache_equal_one_pass_over_the_training_sequence(qwen, kind):
    """Acting reads prompt, text and queries one after the other; training reads `sample` at once."""
    model, chat = qwen.model, tiny_qwen.checkpoint(**kind).prompter
    sides = model.config.backbone.cameras
    seen = {
        name: torch.from_numpy(np.random.default_rng(i).integers(0, 256, (2, side, side, 3), dtype=np.uint8))
        for i, (name, side) in enumerate(sides.items())
    }
    values, texts = np.zeros(tiny_qwen.STATE, np.float32), (["reach the block", "lift it."], [])
    asked = [{"memory": ["wait"], "has_history": True}, {"memory": [], "has_history": False}]
    rows = [chat.sample("go", values, text, **more)[0] for text, more in zip(texts, asked, strict=True)]
    text_tokens: list[list[int]] = [[], []]
    if chat.predicts_subtasks:  # the second episode has no text
        text_tokens[0] = chat.tokenizer.encode("reach the block. lift it.", add_special_tokens=False)
    drops = [chat.suffix_after(text)[0] for text in text_tokens]
    assert drops == ([1, 1] if chat.predicts_subtasks else [0, 0])
    prompts = [chat.prompt("go", values, **more) for more in asked]
    with torch.no_grad():
        tokens, mask = left_pad(rows, chat.pad)
        wanted = model.query_hidden(model.backbone.encode(tokens, mask, seen))
        got = model.encode(ModelInputs(seen, torch.zeros(2, tiny_qwen.STATE), prompts, text_tokens, chat)).query_hidden
    for mine, theirs in zip(got, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_guidance_changes_what_is_imagined_and_is_reproducible(qwen):
    observation, state = tiny_qwen.observation(), walked(qwen, 3)
    guided, _ = qwen.act(observation, state, imagine=True)
    world = qwen.model.world_expert
    without = world.config.replace(guidance=1.0)
    whole = qwen.model.config.replace(world_expert=without)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world, "config", without)
        patch.setattr(qwen.model, "config", whole)
        plain, _ = qwen.act(observation, state, imagine=True)
        np.testing.assert_array_equal(plain.actions, guided.actions)
        assert not np.array_equal(plain.subgoal, guided.subgoal)
    again, _ = qwen.act(observation, state, imagine=True)
    np.testing.assert_array_equal(again.subgoal, guided.subgoal)


def test_an_episode_has_a_past_once_it_is_long_enough(qwen, kind, monkeypatch):
    """Before that its image is left out of the prompt where the first frame is in front, and nothing is told."""
    asked = []
    prompt = qwen._prompter.prompt

    def spy(*words, **more):
        tokens = prompt(*words, **more)
        asked.append((more["has_history"], (*more["memory"], *more["current_subtasks"]), tokens.count(tiny_qwen.IMAGE)))
        return tokens

    monkeypatch.setattr(qwen._prompter, "prompt", spy)
    for steps in range(4):
        qwen.act(tiny_qwen.observation(), replace(walked(qwen, steps, texts=("wait",)), subtasks=("reach", "lift")))
    whole = 7 if kind.get("first") else 6  # tokens of all images
    begin = whole - 1 if kind.get("first") else whole
    previous = ("wait", "reach", "lift")
    assert asked == [(False, previous, begin)] * 2 + [(True, previous, whole)] * 2
