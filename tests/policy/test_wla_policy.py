from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny

import wla
from wla.policy.checkpoint import save_checkpoint
from wla.types import Observation


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
    assert after.step == 1
    assert after.subtasks == chunk.subtasks


def test_the_state_decides_and_nothing_else(policy):
    observation, state = tiny.observation(), policy.reset("press the button", seed=3)
    first, _ = policy.act(observation, state)
    policy.act(tiny.observation(5), policy.reset("put the red block in the bowl"))
    again, _ = policy.act(observation, state)
    np.testing.assert_array_equal(first.actions, again.actions)
    other, _ = policy.act(observation, replace(state, seed=4))
    assert not np.array_equal(first.actions, other.actions)


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
    with pytest.raises(ValueError, match="no checkpoint"):
        wla.load_policy(tmp_path)
