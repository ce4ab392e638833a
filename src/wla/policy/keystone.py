"""KeyStone: of several chunks, execute the one in the middle of most of them (arXiv 2605.08638), without any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from wla.policy.best_of_n import require_supported
from wla.policy.wla_policy import WLAPolicy
from wla.policy.wrapper import PolicyWrapper
from wla.types import ActionChunk, Observation, PolicyState

SEPARATED = 0.3
"""Mean silhouette above which two clusters are two; below, all chunks are one cluster."""


class KeyStonePolicy(PolicyWrapper[PolicyState]):
    """A policy that executes the medoid of the largest cluster of its chunks: where chance has led few of them is left
    out, and no mean of two ways around something is executed.

    The chunks start from the noise that best-of-n's candidates start from; the first is that of the policy alone.
    """

    policy: WLAPolicy

    def __init__(self, policy: WLAPolicy, num_candidates: int) -> None:
        super().__init__(policy)
        self._num_candidates = num_candidates

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        return self.act_batch([observation], [state], **options)[0]

    def act_batch(
        self, observations: Sequence[Observation], states: Sequence[PolicyState], **options: Any
    ) -> list[tuple[ActionChunk, PolicyState]]:
        """`act` for several episodes at once. ValueError as for `require_supported`."""
        require_supported(options)
        with torch.inference_mode():
            encoding = self.policy.encode(observations, states)
            actions = self.policy.sample_actions(encoding, self._num_candidates)
        answers = []
        for index, (observation, state) in enumerate(zip(observations, states, strict=True)):
            there = np.repeat(encoding.robot_state[index, None], self._num_candidates, axis=0)
            compared = self.policy.action_transform.encode(actions[index], there)
            chunk = self.policy.chunk(encoding, index, actions[index, largest_cluster_medoid(compared)])
            answers.append((chunk, self.policy.advance_state(chunk.subtasks, observation, state)))
        return answers


def largest_cluster_medoid(chunks: Float32[np.ndarray, "K n D"]) -> int:
    """Index of the chunk with the least distance to the others of its cluster, in the largest of at most two clusters.

    chunks: normalised, so that each dimension counts alike. Of two clusters of one size, the first chunk's is meant.
    """
    if len(chunks) < 3:
        return 0
    distances = pdist(chunks.reshape(len(chunks), -1).astype(np.float64))
    square = squareform(distances)
    labels = fcluster(linkage(distances, "average"), 2, "maxclust")
    if len(np.unique(labels)) < 2 or _silhouette(square, labels) < SEPARATED:
        labels = np.ones(len(chunks), int)
    sizes = np.bincount(labels)
    members = np.flatnonzero(labels == (labels[0] if sizes[labels[0]] == sizes.max() else sizes.argmax()))
    return int(members[square[np.ix_(members, members)].sum(1).argmin()])


def _silhouette(distances: Float64[np.ndarray, "K K"], labels: Int[np.ndarray, " K"]) -> float:
    """Mean over the members of two clusters: how much nearer their own is than the other, 1 at most."""
    own = labels[:, None] == labels
    others = np.maximum(own.sum(1) - 1, 1)
    within, across = (distances * own).sum(1) / others, (distances * ~own).sum(1) / (~own).sum(1)
    alone = own.sum(1) == 1
    return float(np.where(alone, 0.0, (across - within) / np.maximum(np.maximum(within, across), 1e-12)).mean())
