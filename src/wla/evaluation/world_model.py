"""What a policy imagines on recorded episodes, against what came: figures, and images to look at.

Two rows say what the figures are worth: the present frame in place of an imagined one (what imagining has to beat), and
the frame that came through the codec and back (the best that can be imagined). A policy that imagines what given
actions lead to is also told those that it would run itself, and the recorded ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.progress import track
from torch import Tensor

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.transforms import resize
from wla.evaluation.configs import WorldEvalConfig
from wla.evaluation.image_metrics import ImageMetrics, compare_images
from wla.files import atomic_write_text, disk_errors
from wla.html import data_url, jpeg, template
from wla.models.image_codec import ImageCodec
from wla.models.model import require_model
from wla.models.wla import WLA
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.rollout.memory_replay import recorded_observation, recorded_state

CHANGE_LEVELS = 24
"""Levels from which a pixel counts as changed."""
BATCH = 16
REPORT_SAMPLES = 3
METRICS_FILE, REPORT_FILE = "world.json", "world.html"


class MethodMetrics(Config):
    """Means over frames, on all pixels and on those that changed. psnr in dB; distance: see `compare_images`."""

    method: str
    psnr: float
    ssim: float
    distance: float
    changed_psnr: float
    changed_ssim: float
    changed_distance: float


class WorldModelMetrics(Config):
    """n: frames looked at. changed: those of them in which a pixel changed until the chunk's end. samples: images
    imagined of each. spread: for each way of imagining, the standard deviation between the samples of one frame on the
    pixels that changed, in levels."""

    policy: str
    checkpoint_sha256: str
    dataset: str
    n: int
    changed: int
    samples: int
    rows: list[MethodMetrics]
    sample_std: dict[str, float]


@dataclass(frozen=True)
class ImaginedBatch:
    """Frames at the size that is imagined: the present, what came, and the samples for each way of imagining."""

    frames: np.ndarray
    current: UInt8[Tensor, "B S S 3"]
    ground_truth: UInt8[Tensor, "B S S 3"]
    imagined: dict[str, UInt8[Tensor, "B K S S 3"]]


@dataclass(frozen=True)
class MethodImages:
    """One way of imagining a frame, images as data addresses: some samples, and how the first differs from what
    came."""

    method: str
    imagined: list[str]
    difference: str


@dataclass(frozen=True)
class FrameImages:
    """A frame on the page; images as data addresses."""

    title: str
    current: str
    ground_truth: str
    methods: list[MethodImages]


def evaluate_world(config: WorldEvalConfig, out: Path) -> WorldModelMetrics:
    """Write `world.json` and `world.html` into `out`. ValueError for a dataset of another robot, or without episodes
    that go on after a chunk."""
    policy = load_policy(config.policy, imagination=True, device=config.device)
    dataset = LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: does not say which robot it is of (meta/wla_robot.json is missing)")
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {config.policy}", theirs=str(config.dataset))
    steps = config.flow_steps or (policy.require_imagination().flow_steps,)
    frames = _frames(dataset, policy.chunk_size, config.frames)
    shown = set(
        frames[np.unique(np.linspace(0, len(frames) - 1, config.num_report_frames).round().astype(int))].tolist()
    )
    scores: dict[str, list[ImageMetrics]] = {}
    changed_scores: dict[str, list[ImageMetrics]] = {}
    sample_std: dict[str, list[float]] = {}
    changed = 0
    sheets: list[FrameImages] = []
    for seen in _imagine_batches(policy, dataset, frames, steps, config.samples):
        mask = _changed_mask(seen.current, seen.ground_truth)
        some = mask.any(dim=(1, 2))
        changed += int(some.sum())
        everywhere = torch.ones_like(mask)
        for method, images in _predictions(policy, seen):
            whole, part = (_mean_and_best(images, seen.ground_truth, where, policy) for where in (everywhere, mask))
            for name, pick in (("", 0), (f", best of {images.shape[1]}", 1)):
                if pick and images.shape[1] == 1:
                    continue
                scores.setdefault(method + name, []).append(whole[pick])
                changed_scores.setdefault(method + name, []).append(_select(part[pick], some))
        for method, images in seen.imagined.items():
            if images.shape[1] > 1:
                apart = images.float().std(1).mean(-1)
                found = [float(a[m].mean()) for a, m in zip(apart, mask, strict=True) if m.any()]
                sample_std.setdefault(method, []).extend(found)
        sheets += _frame_images(dataset, seen, shown, len(steps))
    quality = WorldModelMetrics(
        policy=config.policy,
        checkpoint_sha256=policy.checkpoint_sha256,
        dataset=str(config.dataset),
        n=len(frames),
        changed=changed,
        samples=config.samples,
        rows=[_method_metrics(method, scores[method], changed_scores[method]) for method in scores],
        sample_std={method: round(float(np.mean(found)), 2) for method, found in sample_std.items() if found},
    )
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        quality.save(out / METRICS_FILE)
        atomic_write_text(out / REPORT_FILE, _render_report(quality, sheets))
    return quality


def table(quality: WorldModelMetrics) -> str:
    """The figures as text, a line for each row."""
    width = max(len(row.method) for row in quality.rows)
    lines = [
        f"{quality.n} frames, {quality.samples} images of each; all pixels, then those that changed "
        f"({quality.changed} frames): PSNR in dB, SSIM, distance"
    ]
    for row in quality.rows:
        whole = f"{row.psnr:5.1f} {row.ssim:6.3f} {row.distance:6.3f}"
        part = f"{row.changed_psnr:5.1f} {row.changed_ssim:6.3f} {row.changed_distance:6.3f}"
        lines.append(f"{row.method:<{width}}  {whole}   {part}")
    return "\n".join(lines)


def _frames(dataset: LeRobotDataset, chunk: int, count: int) -> np.ndarray:
    """Evenly spread frames whose episode goes on after the chunk."""
    ends = np.repeat([episode.end for episode in dataset.episodes], [len(episode) for episode in dataset.episodes])
    possible = np.flatnonzero(np.arange(len(dataset)) + chunk < ends)
    if not possible.size:
        raise ValueError(f"{dataset.root}: no episode is longer than {chunk} frames, so no frame comes after a chunk")
    return possible[np.unique(np.linspace(0, len(possible) - 1, count).round().astype(int))]


def _imagine_batches(
    policy: WLAPolicy, dataset: LeRobotDataset, frames: np.ndarray, steps: Sequence[int], samples: int
) -> Iterator[ImaginedBatch]:
    primary, chunk = policy.robot_spec.observation.primary_camera, policy.chunk_size
    side = policy.require_imagination().size
    for start in track(range(0, len(frames), BATCH), description="imagining"):
        chosen = frames[start : start + BATCH]
        observations = [recorded_observation(dataset, int(frame)) for frame in chosen]
        states = [recorded_state(policy, dataset, int(frame)) for frame in chosen]
        encoding = policy.encode(observations, states)
        told: dict[str, np.ndarray | None] = {"imagined": None}
        if policy.action_conditioned:
            told["told its own actions"] = policy.sample_actions(encoding, samples)
            if dataset.actions is not None:
                done = dataset.actions[chosen[:, None] + np.arange(chunk)]
                told["told the actions"] = done[:, None].repeat(samples, 1)
        yield ImaginedBatch(
            frames=chosen,
            current=resize(dataset.frames(primary)[chosen], side),
            ground_truth=resize(dataset.frames(primary)[chosen + chunk], side),
            imagined={
                f"{method}, {count} step{'s' if count > 1 else ''}": torch.from_numpy(
                    policy.predict_images(encoding, samples=samples, flow_steps=count, actions=actions)
                )
                for method, actions in told.items()
                for count in steps
            },
        )


def _predictions(policy: WLAPolicy, seen: ImaginedBatch) -> Iterator[tuple[str, UInt8[Tensor, "B K S S 3"]]]:
    codec = _codec(policy)
    yield from seen.imagined.items()
    yield "the present", seen.current[:, None]
    yield "what came, through the codec", codec.decode(codec.encode(seen.ground_truth.to(policy.device))).cpu()[:, None]


def _codec(policy: WLAPolicy) -> ImageCodec:
    codec = require_model(policy.model, WLA, f"policy {policy.name}").codec
    assert codec is not None, "loaded with imagination"
    return codec


def _changed_mask(current: UInt8[Tensor, "B S S 3"], ground_truth: UInt8[Tensor, "B S S 3"]) -> Tensor:
    return (current.int() - ground_truth.int()).abs().amax(-1) >= CHANGE_LEVELS


def _mean_and_best(
    images: UInt8[Tensor, "B K S S 3"], ground_truth: UInt8[Tensor, "B S S 3"], where: Tensor, policy: WLAPolicy
) -> tuple[ImageMetrics, ImageMetrics]:
    """The mean over the samples of each frame, and each measure's best."""
    codec, count, device = _codec(policy), images.shape[1], policy.device
    truth, mask = (x.repeat_interleave(count, 0).to(device) for x in (ground_truth, where))
    found = compare_images(images.flatten(0, 1).to(device), truth, mask, codec)
    psnr, ssim, distance = (value.view(-1, count).cpu() for value in found)
    mean = ImageMetrics(psnr.mean(1), ssim.mean(1), distance.mean(1))
    return mean, ImageMetrics(psnr.amax(1), ssim.amax(1), distance.amin(1))


def _select(quality: ImageMetrics, mask: Tensor) -> ImageMetrics:
    return ImageMetrics(*(value[mask] for value in quality))


def _method_metrics(method: str, whole: Sequence[ImageMetrics], part: Sequence[ImageMetrics]) -> MethodMetrics:
    def mean(found: Sequence[ImageMetrics]) -> dict[str, float]:
        return {
            name: round(float(torch.cat([getattr(quality, name) for quality in found]).mean()), 4)
            for name in ImageMetrics._fields
        }

    return MethodMetrics(
        method=method, **mean(whole), **{f"changed_{name}": value for name, value in mean(part).items()}
    )


def _frame_images(dataset: LeRobotDataset, seen: ImaginedBatch, shown: set[int], counts: int) -> Iterator[FrameImages]:
    """counts: numbers of sampling steps that each way of imagining has; of these the first is shown."""
    for row, frame in enumerate(seen.frames.tolist()):
        if frame not in shown:
            continue
        episode = dataset.episode_of(frame)
        yield FrameImages(
            title=f"{episode.instruction}: episode {episode.index}, frame {frame - episode.start}",
            current=_url(seen.current[row]),
            ground_truth=_url(seen.ground_truth[row]),
            methods=[
                _method_images(method, images[row], seen.ground_truth[row])
                for method, images in islice(seen.imagined.items(), 0, None, counts)
            ],
        )


def _method_images(method: str, images: UInt8[Tensor, "K S S 3"], ground_truth: UInt8[Tensor, "S S 3"]) -> MethodImages:
    difference = (images[0].int() - ground_truth.int()).abs().amax(-1, keepdim=True).expand(-1, -1, 3)
    return MethodImages(method, [_url(image) for image in images[:REPORT_SAMPLES]], _url(difference.to(torch.uint8)))


def _url(image: UInt8[Tensor, "S S 3"]) -> str:
    pixels = image.numpy()
    return data_url(jpeg(pixels, max(pixels.shape)))


def _render_report(quality: WorldModelMetrics, sheets: Sequence[FrameImages]) -> str:
    return template(f"evaluation/{REPORT_FILE}").render(metrics=quality, sheets=sheets)
