"""Evaluation of a policy's imagined subgoals on recorded episodes: image metrics, and a report with images.

Two rows put the metrics into perspective: the copy baseline (the current frame as the prediction, which imagining has
to beat) and the codec reconstruction of the ground truth (the upper bound). An action-conditioned policy is also
evaluated with actions given: with chunks that it samples itself, and with the recorded chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from wla.config import Record
from wla.data.lerobot.reader import LeRobotDataset
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.image_metrics import ImageMetrics, compare_images
from wla.files import disk_errors
from wla.html import data_url, jpeg, template, write_page
from wla.intervals import Interval, mean_by_episode, sums_by_episode
from wla.models.image_codec import ImageCodec
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.rollout.recorded_episodes import RecordedCall, load_with_dataset, replay_episodes
from wla.types import PolicyState

CHANGE_LEVELS = 24
"""Difference in levels from which a pixel counts as changed."""
BATCH_SIZE = 16
REPORT_SAMPLES = 3
"""Maximum number of samples in the report, per frame and method."""
METRICS_FILE, REPORT_FILE = "world.json", "world.html"
IMAGINED = "imagined"
OWN_CHUNK, RECORDED_CHUNK = "action-conditioned (own chunk)", "action-conditioned (recorded chunk)"
COPY_BASELINE, RECONSTRUCTION = "copy baseline (current frame)", "codec reconstruction (upper bound)"
EXPLANATIONS = {
    IMAGINED: "Subgoal image at the end of the chunk, conditioned on the policy's own query states: the model chooses "
    "what to imagine. n steps: flow steps of sampling.",
    OWN_CHUNK: "Subgoal image conditioned on an action chunk that the policy sampled for this frame: what it expects "
    "of its own actions. Where these differ from the recorded ones, the ground truth shows another outcome.",
    RECORDED_CHUNK: "Subgoal image conditioned on the recorded actions, whose outcome the ground truth shows: the test "
    "of the model's dynamics.",
    "best of n": "The best of a frame's samples by each metric, which no method could choose without the ground truth.",
    COPY_BASELINE: "The current frame as the prediction. Imagined images have to beat it.",
    RECONSTRUCTION: "The ground truth, encoded and decoded. Imagined images pass through the same codec.",
    "ground truth": "The recorded frame at the end of the chunk.",
    "changed pixels": "Pixels that differ clearly between the current frame and the ground truth.",
    "PSNR": "Peak signal-to-noise ratio, in dB; higher is better.",
    "above copy": "PSNR on changed pixels minus that of the copy baseline, with its 95 % interval by episode.",
    "SSIM": "Structural similarity, 1 for identical images; higher is better.",
    "distance": "Perceptual distance, on the codec's features; lower is better.",
}
"""Rows and columns of the report in a sentence each. Those of methods that were not evaluated are left out."""


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
    """

    policy: str
    checkpoint_sha256: str
    dataset: str
    n: int
    changed_frames: int
    samples: int
    rows: list[MethodMetrics]
    sample_std: dict[str, float]


@dataclass(frozen=True)
class ImaginedBatch:
    """Images of B dataset frames at the imagined size (S, S): current, ground truth at the chunk's end, and K samples
    per method. frames: indices into the dataset."""

    frames: Int64[np.ndarray, " B"]
    current: UInt8[Tensor, "B S S 3"]
    ground_truth: UInt8[Tensor, "B S S 3"]
    imagined: dict[str, UInt8[Tensor, "B K S S 3"]]


@dataclass(frozen=True)
class MethodImages:
    """One method's images of a frame, as data URLs: some samples, and the difference of the first from the ground
    truth."""

    method: str
    imagined: list[str]
    difference: str


@dataclass(frozen=True)
class FrameImages:
    """One frame of the report; images as data URLs."""

    title: str
    current: str
    ground_truth: str
    methods: list[MethodImages]


def evaluate_world(config: WorldEvalConfig, out: Path) -> WorldModelMetrics:
    """Writes `world.json` and `world.html` into `out` and returns the metrics.

    The frames are calls of the policy in replayed episodes (see `replay_episodes`), so that prompts are those of
    acting. ValueError for a dataset of a different robot, or without episodes longer than a chunk.
    """
    policy, dataset = load_with_dataset(
        config.policy, config.dataset, imagination=True, device=config.device, robot=config.robot
    )
    steps = config.flow_steps or (policy.require_imagination().flow_steps,)
    frames = _frames(dataset, policy, config.frames)
    report_frames = set(_evenly_spread(frames, config.num_report_frames).tolist())
    scores = _Scores(
        _codec(policy if config.metric_codec is None else load_policy(config.metric_codec, imagination=True))
    )
    sheets: dict[int, FrameImages] = {}

    def imagine(calls: Sequence[RecordedCall[PolicyState]]) -> None:
        batch = _imagine(policy, dataset, calls, steps, config.samples)
        scores.add(batch, [dataset.episode_of(call.frame).index for call in calls], policy)
        sheets.update(_frame_images(dataset, batch, report_frames, len(steps)))

    _replay(policy, dataset, frames, imagine)
    metrics = WorldModelMetrics(
        policy=config.policy,
        checkpoint_sha256=policy.checkpoint_sha256,
        dataset=str(config.dataset),
        n=len(frames),
        changed_frames=scores.changed_frames,
        samples=config.samples,
        rows=scores.rows(),
        sample_std=scores.sample_std(),
    )
    hint = "free disk space or choose another --out"
    with disk_errors(out, hint):
        out.mkdir(parents=True, exist_ok=True)
        metrics.save(out / METRICS_FILE)
    report = _render_report(metrics, [sheets[frame] for frame in sorted(sheets)])
    write_page(out / REPORT_FILE, report, hint)
    return metrics


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
    return "\n".join(lines)


def gain(row: MethodMetrics) -> str:
    """Returns the PSNR above the copy baseline with its interval as text; nothing where it was not measured."""
    if row.above_copy is None or row.method == COPY_BASELINE:
        return ""
    bounds = row.above_copy.bounds(scale=1.0, sign=True)
    return f"{row.above_copy.estimate:+.1f} dB, 95 % interval {bounds} ({row.above_copy.label})"


class _Scores:
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
            _method_metrics(method, everywhere, self._changed[method]).replace(above_copy=self._above_copy(method))
            for method, everywhere in self._everywhere.items()
        ]

    def _above_copy(self, method: str) -> Interval | None:
        psnr, copied = (torch.cat([each.psnr for each in self._changed[name]]) for name in (method, COPY_BASELINE))
        gains = (psnr - copied).double().numpy()
        return mean_by_episode(*sums_by_episode(gains, np.array(self._changed_episodes)), kind="paired by episode")

    def sample_std(self) -> dict[str, float]:
        return {method: round(float(np.mean(means)), 2) for method, means in self._sample_std.items() if means}


def _frames(dataset: LeRobotDataset, policy: WLAPolicy, count: int) -> Int64[np.ndarray, " N"]:
    """At most `count` evenly spread frames at which the policy acts and that are followed by a whole chunk in their
    episode."""
    interval, chunk = policy.replan_steps or policy.chunk_size, policy.chunk_size
    candidates = [np.arange(episode.start, episode.end - chunk, interval) for episode in dataset.episodes]
    frames = np.concatenate(candidates)
    frames = frames[frames + chunk < dataset.run_end[frames]]
    if not frames.size:
        raise ValueError(f"{dataset.root}: no episode is longer than {chunk} frames, so no frame comes after a chunk")
    return _evenly_spread(frames, count)


def _evenly_spread(frames: Int64[np.ndarray, " M"], count: int) -> Int64[np.ndarray, " N"]:
    return frames[np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))]


def _replay(
    policy: WLAPolicy,
    dataset: LeRobotDataset,
    frames: Int64[np.ndarray, " N"],
    imagine: Callable[[Sequence[RecordedCall[PolicyState]]], None],
) -> None:
    """Replays the episodes of these frames, each up to its last one, and passes the calls at these frames on."""
    last = {dataset.episode_of(frame).index: frame for frame in sorted(frames.tolist())}
    episodes = [replace(dataset.episodes[index], end=frame + 1) for index, frame in last.items()]
    chosen = set(frames.tolist())

    def answer(calls: Sequence[RecordedCall[PolicyState]]) -> list[tuple[int, PolicyState]]:
        imagined = [call for call in calls if call.frame in chosen]
        if imagined:
            imagine(imagined)
        subtasks: Sequence[tuple[str, ...]] = [()] * len(calls)
        if policy.predicts_subtasks:
            encoding = policy.encode([call.observation for call in calls], [call.state for call in calls])
            subtasks = [policy.subtasks(encoding, index) for index in range(len(calls))]
        return [
            (policy.replan_steps or policy.chunk_size, policy.advance_state(texts, call.observation, call.state))
            for call, texts in zip(calls, subtasks, strict=True)
        ]

    replay_episodes(policy, dataset, episodes, answer, batch_size=BATCH_SIZE, description="imagining")


def _imagine(
    policy: WLAPolicy,
    dataset: LeRobotDataset,
    calls: Sequence[RecordedCall[PolicyState]],
    steps: Sequence[int],
    samples: int,
) -> ImaginedBatch:
    primary, chunk = policy.primary, policy.chunk_size
    side = policy.require_imagination().size
    batch = np.array([call.frame for call in calls])
    encoding = policy.encode([call.observation for call in calls], [call.state for call in calls])
    conditions: dict[str, np.ndarray | None] = {IMAGINED: None}
    if policy.action_conditioned:
        conditions[OWN_CHUNK] = policy.sample_actions(encoding, samples)
        if dataset.actions is not None:
            recorded = dataset.actions[batch[:, None] + np.arange(chunk)]
            conditions[RECORDED_CHUNK] = recorded[:, None].repeat(samples, 1)
    return ImaginedBatch(
        frames=batch,
        current=policy.resize(dataset.random_access_frames(primary)[batch], side),
        ground_truth=policy.resize(dataset.random_access_frames(primary)[batch + chunk], side),
        imagined={
            f"{method}, {count} step{'s' if count > 1 else ''}": torch.from_numpy(
                policy.predict_images(encoding, samples=samples, flow_steps=count, actions=actions)
            )
            for method, actions in conditions.items()
            for count in steps
        },
    )


def _predictions(policy: WLAPolicy, batch: ImaginedBatch) -> Iterator[tuple[str, UInt8[Tensor, "B K S S 3"]]]:
    codec = _codec(policy)
    yield from batch.imagined.items()
    yield COPY_BASELINE, batch.current[:, None]
    yield RECONSTRUCTION, codec.decode(codec.encode(batch.ground_truth.to(policy.device))).cpu()[:, None]


def _codec(policy: WLAPolicy) -> ImageCodec:
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


def _frame_images(
    dataset: LeRobotDataset, batch: ImaginedBatch, report_frames: set[int], num_flow_steps: int
) -> Iterator[tuple[int, FrameImages]]:
    """The batch's report frames and their images. Each method was run with `num_flow_steps` numbers of flow steps; the
    report shows the first."""
    for row, frame in enumerate(batch.frames.tolist()):
        if frame not in report_frames:
            continue
        episode = dataset.episode_of(frame)
        images = FrameImages(
            title=f"{episode.instruction}: episode {episode.index}, frame {frame - episode.start}",
            current=_url(batch.current[row]),
            ground_truth=_url(batch.ground_truth[row]),
            methods=[
                _method_images(method, images[row], batch.ground_truth[row])
                for method, images in islice(batch.imagined.items(), 0, None, num_flow_steps)
            ],
        )
        yield frame, images


def _method_images(method: str, images: UInt8[Tensor, "K S S 3"], ground_truth: UInt8[Tensor, "S S 3"]) -> MethodImages:
    difference = (images[0].int() - ground_truth.int()).abs().amax(-1, keepdim=True).expand(-1, -1, 3)
    return MethodImages(method, [_url(image) for image in images[:REPORT_SAMPLES]], _url(difference.to(torch.uint8)))


def _url(image: UInt8[Tensor, "S S 3"]) -> str:
    pixels = image.numpy()
    return data_url(jpeg(pixels, max(pixels.shape)))


def _render_report(metrics: WorldModelMetrics, sheets: Sequence[FrameImages]) -> str:
    methods = " ".join(row.method for row in metrics.rows)
    absent = {
        name for name in (IMAGINED, OWN_CHUNK, RECORDED_CHUNK, "best of n") if name.removesuffix("n") not in methods
    }
    explanations = {name: text for name, text in EXPLANATIONS.items() if name not in absent}
    page = template(f"evaluation/{REPORT_FILE}")
    return page.render(metrics=metrics, copy_baseline=COPY_BASELINE, sheets=sheets, explanations=explanations)
