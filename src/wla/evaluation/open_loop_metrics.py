"""Metrics of an open-loop evaluation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from wla.evaluation.action_errors import DimensionError, Estimate
from wla.evaluation.subtask_rates import SubtaskRates


@dataclass(frozen=True)
class OpenLoopMetrics:
    """Metrics over the calls of a policy in recorded episodes. None: not measured, for the reason in `not_measured`.

    subtasks: see `docs/conventions.md`; the reference is the recorded labels. action_error: mean absolute error of the
    chunks in percent of each action's range; dimensions: the same for each dimension in its unit, beside two baselines.
    trained_episodes: episodes of the dataset that were left out because the policy was trained on them, None where its
    checkpoint does not say. imagined_psnr, copy_baseline_psnr: mean PSNR in dB of the imagined image
    and of the current frame against the frame at the chunk's end, over the `moving_frames` calls that have motion in
    between. psnr_gain: their difference.
    """

    policy: str
    checkpoint_sha256: str | None
    dataset: str
    episodes: int
    trained_episodes: int | None
    calls: int
    subtasks: SubtaskRates | None
    action_error: Estimate | None
    dimensions: tuple[DimensionError, ...]
    imagined_psnr: Estimate | None
    copy_baseline_psnr: Estimate | None
    psnr_gain: Estimate | None
    moving_frames: int
    not_measured: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, allow_nan=False)
