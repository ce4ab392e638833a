"""Metrics of imagined images, of every method, on all pixels and on those that changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

from wla.config import Record
from wla.evaluation.image_metrics import ImageMetrics, compare_images
from wla.evaluation.world_images import (
    COPY_BASELINE,
    OTHER_CHUNK,
    RECONSTRUCTION,
    RECORDED_CHUNK,
    ImaginedBatch,
    with_steps,
)
from wla.intervals import Interval, mean_by_episode, sums_by_episode
from wla.models.image_codec import ImageCodec
from wla.policy.wla_policy import WLAPolicy

CHANGE_LEVELS = 24
"""Difference in levels from which a pixel counts as changed."""


class MethodMetrics(Record):
    """Means over frames of one method, on all pixels and on the changed ones. psnr: dB. distance: see
    `compare_images`. above_copy: changed_psnr minus that of the copy baseline, dB; None for a single episode."""

    method: str
    psnr: float
    ssim: float
    distance: float
    changed_psnr: float
    changed_ssim: float
    changed_distance: float
    above_copy: Interval | None = None


class WorldModelMetrics(Record):
    """Metrics of every method over n frames.

    changed_frames: number of frames with a changed pixel at the chunk's end. samples: images imagined per frame.
    sample_std: method -> standard deviation between the samples of one frame on the changed pixels, in levels.
    follows_actions: PSNR on changed pixels after the recorded chunk minus that after another frame's chunk, dB: 0 where
    images do not depend on the actions. None where the policy is not action-conditioned, and for a single episode.
    """

    policy: str
    checkpoint_sha256: str
    dataset: str
    n: int
    changed_frames: int
    samples: int
    rows: list[MethodMetrics]
    sample_std: dict[str, float]
    follows_actions: Interval | None = None


def table(metrics: WorldModelMetrics) -> str:
    """Returns the metrics as text, one line per method."""
    width = max(len(row.method) for row in metrics.rows)
    lines = [
        f"{metrics.n} frames, {metrics.samples} images per frame; PSNR in dB, SSIM and distance on all pixels, "
        f"then on changed pixels ({metrics.changed_frames} frames)"
    ]
    for row in metrics.rows:
        everywhere = f"{row.psnr:5.1f} {row.ssim:6.3f} {row.distance:6.3f}"
        changed = f"{row.changed_psnr:5.1f} {row.changed_ssim:6.3f} {row.changed_distance:6.3f}"
        lines.append(f"{row.method:<{width}}  {everywhere}   {changed}")
    lines += [f"{row.method}: {text}" for row in metrics.rows if (text := gain(row))]
    if metrics.follows_actions is not None:
        lines.append(
            "images follow the actions: changed pixels after the recorded chunk, above those after another frame's: "
            + _decibels(metrics.follows_actions)
        )
    return "\n".join(lines)


def gain(row: MethodMetrics) -> str:
    """Returns the PSNR above the copy baseline with its interval as text; nothing where it was not measured."""
    if row.above_copy is None or row.method == COPY_BASELINE:
        return ""
    return _decibels(row.above_copy)


def _decibels(gained: Interval) -> str:
    return f"{gained.estimate:+.1f} dB, 95 % interval {gained.bounds(scale=1.0, sign=True)} ({gained.label})"


class Scores:
    """Image metrics of every method, collected batch by batch."""

    def __init__(self, codec: ImageCodec) -> None:
        """codec: its features measure the distance."""
        self._codec = codec
        self.changed_frames = 0
        self._everywhere: dict[str, list[ImageMetrics]] = {}
        self._changed: dict[str, list[ImageMetrics]] = {}
        self._sample_std: dict[str, list[float]] = {}
        self._changed_episodes: list[int] = []

    def add(self, batch: ImaginedBatch, episodes: Sequence[int], policy: WLAPolicy) -> None:
        """episodes: the index of each frame's."""
        codec = self._codec.to(policy.device)
        changed = _changed_mask(batch.current, batch.ground_truth)
        has_change = changed.any(dim=(1, 2))
        self.changed_frames += int(has_change.sum())
        self._changed_episodes += [index for index, some in zip(episodes, has_change.tolist(), strict=True) if some]
        for method, images in _predictions(policy, batch):
            on_all, on_changed = (
                _mean_and_best(images, batch.ground_truth, mask, codec, policy.device)
                for mask in (torch.ones_like(changed), changed)
            )
            for suffix, index in (("", 0), (f", best of {images.shape[1]}", 1)):
                if index and images.shape[1] == 1:
                    continue
                self._everywhere.setdefault(method + suffix, []).append(on_all[index])
                self._changed.setdefault(method + suffix, []).append(_select(on_changed[index], has_change))
        for method, images in batch.imagined.items():
            if images.shape[1] > 1:
                std = images.float().std(1).mean(-1)
                means = [float(s[mask].mean()) for s, mask in zip(std, changed, strict=True) if mask.any()]
                self._sample_std.setdefault(method, []).extend(means)

    def rows(self) -> list[MethodMetrics]:
        return [
            _method_metrics(method, everywhere, self._changed[method]).replace(
                above_copy=self._above(method, COPY_BASELINE)
            )
            for method, everywhere in self._everywhere.items()
        ]

    def follows_actions(self, steps: int) -> Interval | None:
        """See `WorldModelMetrics`, with this number of flow steps."""
        recorded, other = (with_steps(method, steps) for method in (RECORDED_CHUNK, OTHER_CHUNK))
        return self._above(recorded, other) if other in self._changed else None

    def _above(self, method: str, reference: str) -> Interval | None:
        psnr, low = (torch.cat([each.psnr for each in self._changed[name]]) for name in (method, reference))
        gains = (psnr - low).double().numpy()
        return mean_by_episode(*sums_by_episode(gains, np.array(self._changed_episodes)), kind="paired by episode")

    def sample_std(self) -> dict[str, float]:
        return {method: round(float(np.mean(means)), 2) for method, means in self._sample_std.items() if means}


def _predictions(policy: WLAPolicy, batch: ImaginedBatch) -> Iterator[tuple[str, UInt8[Tensor, "B K S S 3"]]]:
    codec = codec_of(policy)
    yield from batch.imagined.items()
    yield COPY_BASELINE, batch.current[:, None]
    yield RECONSTRUCTION, codec.decode(codec.encode(batch.ground_truth.to(policy.device))).cpu()[:, None]


def codec_of(policy: WLAPolicy) -> ImageCodec:
    """The codec of a policy's images. ValueError where it predicts none."""
    codec = policy.model.image_codec
    if codec is None:
        raise ValueError(f"policy {policy.name}: predicts no images, so that it has no codec; name another one")
    return codec


def _changed_mask(current: UInt8[Tensor, "B S S 3"], ground_truth: UInt8[Tensor, "B S S 3"]) -> Bool[Tensor, "B S S"]:
    return (current.int() - ground_truth.int()).abs().amax(-1) >= CHANGE_LEVELS


def _mean_and_best(
    images: UInt8[Tensor, "B K S S 3"],
    ground_truth: UInt8[Tensor, "B S S 3"],
    mask: Bool[Tensor, "B S S"],
    codec: ImageCodec,
    device: torch.device,
) -> tuple[ImageMetrics, ImageMetrics]:
    """Mean over each frame's K samples, and the best sample by each metric."""
    count = images.shape[1]
    repeated_truth, repeated_mask = (x.repeat_interleave(count, 0).to(device) for x in (ground_truth, mask))
    metrics = compare_images(images.flatten(0, 1).to(device), repeated_truth, repeated_mask, codec)
    psnr, ssim, distance = (value.view(-1, count).cpu() for value in metrics)
    mean = ImageMetrics(psnr.mean(1), ssim.mean(1), distance.mean(1))
    return mean, ImageMetrics(psnr.amax(1), ssim.amax(1), distance.amin(1))


def _select(metrics: ImageMetrics, mask: Bool[Tensor, " B"]) -> ImageMetrics:
    return ImageMetrics(*(value[mask] for value in metrics))


def _method_metrics(method: str, everywhere: Sequence[ImageMetrics], changed: Sequence[ImageMetrics]) -> MethodMetrics:
    def mean(batches: Sequence[ImageMetrics]) -> dict[str, float]:
        return {
            name: round(float(torch.cat([getattr(metrics, name) for metrics in batches]).mean()), 4)
            for name in ImageMetrics._fields
        }

    return MethodMetrics(
        method=method, **mean(everywhere), **{f"changed_{name}": value for name, value in mean(changed).items()}
    )
