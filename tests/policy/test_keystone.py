"""KeyStone: the medoid of the largest cluster of chunks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.models.wla import WLA
from wla.policy.checkpoint import CheckpointConfig
from wla.policy.keystone import KeyStonePolicy, largest_cluster_medoid
from wla.policy.wla_policy import WLAPolicy


@pytest.fixture(scope="module")
def policy() -> WLAPolicy:
    torch.manual_seed(0)
    config = tiny.model_config()
    checkpoint = replace(
        tiny.checkpoint(), config=CheckpointConfig(model=config, prompt=tiny.PROMPT), model=WLA(config).eval()
    )
    return WLAPolicy(checkpoint, name="tiny", checkpoint_sha256="abc")


def around(centre: float, *offsets: float) -> list[np.ndarray]:
    """Chunks of two steps in two dimensions that differ in one of them."""
    return [np.float32([[centre, 0], [centre + offset, 0]]) for offset in offsets]


def test_the_medoid_of_the_larger_cluster_is_run_even_where_the_first_chunk_is_in_the_other() -> None:
    chunks = np.stack([*around(5, 0, 0.1), *around(0, 0.3, -0.1, 0, 0.1)])
    assert largest_cluster_medoid(chunks) == 4


def test_of_two_clusters_of_one_size_the_first_chunk_decides() -> None:
    one, other = around(0, -0.1, 0, 0.1), around(5, -0.1, 0, 0.1)
    assert largest_cluster_medoid(np.stack([*one, *other])) == 1
    assert largest_cluster_medoid(np.stack([*other, *one])) == 1
    assert largest_cluster_medoid(np.stack([other[0], *one, *other[1:]])) == 4


def test_without_separated_clusters_it_is_the_medoid_of_all() -> None:
    chunks = np.random.default_rng(0).normal(size=(9, 8, 5)).astype(np.float32)
    chunks[6] = chunks.mean(0)
    assert largest_cluster_medoid(chunks) == 6


def test_a_single_outlier_is_left_out() -> None:
    chunks = np.stack([*around(9, 0), *around(0, 0, 0.1, 0.2)])
    assert largest_cluster_medoid(chunks) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_chunks_leave_the_first(count: int) -> None:
    assert largest_cluster_medoid(np.stack(around(0, 0, 7)[:count])) == 0


def test_equal_chunks_are_one_cluster() -> None:
    assert largest_cluster_medoid(np.zeros((4, 2, 2), np.float32)) == 0


def test_one_candidate_is_what_the_policy_does_alone(policy: WLAPolicy) -> None:
    alone, after = policy.act(tiny.observation(), policy.reset("press the button", seed=3))
    one = KeyStonePolicy(policy, 1)
    chunk, state = one.act(tiny.observation(), one.reset("press the button", seed=3))
    np.testing.assert_allclose(chunk.actions, alone.actions, atol=1e-6)
    assert (chunk.subtasks, state) == (alone.subtasks, after)


def test_candidates_are_those_of_best_of_n_in_a_batch_too(policy: WLAPolicy) -> None:
    wrapped = KeyStonePolicy(policy, 5)
    states = [wrapped.reset("press the button", seed=seed) for seed in (3, 4)]
    answers = wrapped.act_batch([tiny.observation()] * 2, states)
    for state, (chunk, _) in zip(states, answers, strict=True):
        encoding = policy.encode([tiny.observation()], [state])
        proposed = policy.sample_actions(encoding, 5)[0]
        there = np.repeat(encoding.robot_state, 5, axis=0)
        best = largest_cluster_medoid(policy.action_transform.encode(proposed, there))
        np.testing.assert_allclose(chunk.actions, proposed[best], atol=1e-5)
    with pytest.raises(ValueError, match="takes no flow_steps"):
        wrapped.act(tiny.observation(), states[0], flow_steps=2)
