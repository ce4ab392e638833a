"""Images that a policy imagines in recorded episodes: after what it would do, and after actions that it is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from wla.data.lerobot.reader import LeRobotDataset
from wla.policy.wla_policy import WLAPolicy
from wla.rollout.recorded_episodes import RecordedCall
from wla.types import PolicyState

IMAGINED = "imagined"
OWN_CHUNK, RECORDED_CHUNK = "action-conditioned (own chunk)", "action-conditioned (recorded chunk)"
OTHER_CHUNK = "action-conditioned (another frame's chunk)"
COPY_BASELINE, RECONSTRUCTION = "copy baseline (current frame)", "codec reconstruction (upper bound)"
"""Methods: how an image of the future comes about."""


@dataclass(frozen=True)
class ImaginedBatch:
    """Images of B dataset frames at the imagined size (S, S): current, ground truth at the chunk's end, and K samples
    per method. frames: indices into the dataset."""

    frames: Int64[np.ndarray, " B"]
    current: UInt8[Tensor, "B S S 3"]
    ground_truth: UInt8[Tensor, "B S S 3"]
    imagined: dict[str, UInt8[Tensor, "B K S S 3"]]


def with_steps(method: str, count: int) -> str:
    """The name of a method with this number of flow steps."""
    return f"{method}, {count} step{'s' if count > 1 else ''}"


def imagine(
    policy: WLAPolicy,
    dataset: LeRobotDataset,
    calls: Sequence[RecordedCall[PolicyState]],
    others: Mapping[int, int],
    steps: Sequence[int],
    samples: int,
) -> ImaginedBatch:
    """Images of all methods after the chunk of each call. others: frame -> another one, whose chunk to imagine, too."""
    primary, chunk = policy.primary, policy.chunk_size
    side = policy.require_imagination().size
    batch = np.array([call.frame for call in calls])
    encoding = policy.encode([call.observation for call in calls], [call.state for call in calls])
    conditions: dict[str, np.ndarray | None] = {IMAGINED: None}
    if policy.action_conditioned:
        conditions[OWN_CHUNK] = policy.sample_actions(encoding, samples)
        if dataset.actions is not None:
            elsewhere = np.array([others[frame] for frame in batch.tolist()])
            for method, frames in ((RECORDED_CHUNK, batch), (OTHER_CHUNK, elsewhere)):
                recorded = dataset.actions[frames[:, None] + np.arange(chunk)]
                conditions[method] = recorded[:, None].repeat(samples, 1)
    return ImaginedBatch(
        frames=batch,
        current=policy.resize(dataset.random_access_frames(primary)[batch], side),
        ground_truth=policy.resize(dataset.random_access_frames(primary)[batch + chunk], side),
        imagined={
            with_steps(method, count): torch.from_numpy(
                policy.predict_images(encoding, samples=samples, flow_steps=count, actions=actions)
            )
            for method, actions in conditions.items()
            for count in steps
        },
    )
