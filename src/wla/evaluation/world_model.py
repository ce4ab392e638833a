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
from wla.evaluation.configs import WorldConfig
from wla.evaluation.image_metrics import Quality, compare_images
from wla.files import disk_errors, write_whole
from wla.html import data_url, jpeg, template
from wla.policy.wla_policy import WLAPolicy, load_policy
from wla.rollout.memory_replay import as_recorded, recorded

CHANGED = 24
"""Levels from which a pixel counts as changed."""
BATCH = 16
SHOWN_SAMPLES = 3
FIGURES, PAGE = "world.json", "world.html"


class Row(Config):
    """Means over frames, on all pixels and on those that changed. psnr in dB; distance: see `compare_images`."""

    what: str
    psnr: float
    ssim: float
    distance: float
    changed_psnr: float
    changed_ssim: float
    changed_distance: float


class WorldQuality(Config):
    """n: frames looked at. changed: those of them in which a pixel changed until the chunk's end. samples: images
    imagined of each. spread: for each way of imagining, the standard deviation between the samples of one frame on the
    pixels that changed, in levels."""

    policy: str
    checkpoint_sha256: str
    dataset: str
    n: int
    changed: int
    samples: int
    rows: list[Row]
    spread: dict[str, float]


@dataclass(frozen=True)
class Seen:
    """Frames at the size that is imagined: the present, what came, and the samples for each way of imagining."""

    frames: np.ndarray
    now: UInt8[Tensor, "B S S 3"]
    later: UInt8[Tensor, "B S S 3"]
    imagined: dict[str, UInt8[Tensor, "B K S S 3"]]


@dataclass(frozen=True)
class Strip:
    """One way of imagining a frame, images as data addresses: some samples, and how the first differs from what
    came."""

    what: str
    imagined: list[str]
    difference: str


@dataclass(frozen=True)
class Sheet:
    """A frame on the page; images as data addresses."""

    title: str
    now: str
    later: str
    strips: list[Strip]


def evaluate_world(config: WorldConfig, out: Path) -> WorldQuality:
    """Write `world.json` and `world.html` into `out`. ValueError for a dataset of another robot, or without episodes
    that go on after a chunk."""
    policy = load_policy(config.policy, imagination=True, device=config.device)
    dataset = LeRobotDataset(config.dataset)
    if dataset.robot_spec is None:
        raise ValueError(f"{config.dataset}: does not say which robot it is of (meta/wla_robot.json is missing)")
    policy.robot_spec.require_equal(dataset.robot_spec, ours=f"policy {config.policy}", theirs=str(config.dataset))
    steps = config.steps or (policy.model.config.world_expert.steps,)
    frames = _frames(dataset, policy.model.config.action_expert.chunk, config.frames)
    shown = set(frames[np.unique(np.linspace(0, len(frames) - 1, config.shown).round().astype(int))].tolist())
    scores: dict[str, list[Quality]] = {}
    changed_scores: dict[str, list[Quality]] = {}
    spread: dict[str, list[float]] = {}
    changed = 0
    sheets: list[Sheet] = []
    for seen in _look(policy, dataset, frames, steps, config.samples):
        mask = _changed(seen.now, seen.later)
        some = mask.any(dim=(1, 2))
        changed += int(some.sum())
        everywhere = torch.ones_like(mask)
        for what, images in _candidates(policy, seen):
            whole, part = (_best(images, seen.later, where, policy) for where in (everywhere, mask))
            for name, pick in (("", 0), (f", best of {images.shape[1]}", 1)):
                if pick and images.shape[1] == 1:
                    continue
                scores.setdefault(what + name, []).append(whole[pick])
                changed_scores.setdefault(what + name, []).append(_rows(part[pick], some))
        for what, images in seen.imagined.items():
            if images.shape[1] > 1:
                apart = images.float().std(1).mean(-1)
                found = [float(a[m].mean()) for a, m in zip(apart, mask, strict=True) if m.any()]
                spread.setdefault(what, []).extend(found)
        sheets += _sheets(dataset, seen, shown, len(steps))
    quality = WorldQuality(
        policy=config.policy,
        checkpoint_sha256=policy.checkpoint_sha256,
        dataset=str(config.dataset),
        n=len(frames),
        changed=changed,
        samples=config.samples,
        rows=[_row(what, scores[what], changed_scores[what]) for what in scores],
        spread={what: round(float(np.mean(found)), 2) for what, found in spread.items() if found},
    )
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        quality.save(out / FIGURES)
        write_whole(out / PAGE, _page(quality, sheets))
    return quality


def table(quality: WorldQuality) -> str:
    """The figures as text, a line for each row."""
    width = max(len(row.what) for row in quality.rows)
    lines = [
        f"{quality.n} frames, {quality.samples} images of each; all pixels, then those that changed "
        f"({quality.changed} frames): PSNR in dB, SSIM, distance"
    ]
    for row in quality.rows:
        whole = f"{row.psnr:5.1f} {row.ssim:6.3f} {row.distance:6.3f}"
        part = f"{row.changed_psnr:5.1f} {row.changed_ssim:6.3f} {row.changed_distance:6.3f}"
        lines.append(f"{row.what:<{width}}  {whole}   {part}")
    return "\n".join(lines)


def _frames(dataset: LeRobotDataset, chunk: int, count: int) -> np.ndarray:
    """Evenly spread frames whose episode goes on after the chunk."""
    ends = np.repeat([episode.end for episode in dataset.episodes], [len(episode) for episode in dataset.episodes])
    possible = np.flatnonzero(np.arange(len(dataset)) + chunk < ends)
    if not possible.size:
        raise ValueError(f"{dataset.root}: no episode is longer than {chunk} frames, so no frame comes after a chunk")
    return possible[np.unique(np.linspace(0, len(possible) - 1, count).round().astype(int))]


def _look(
    policy: WLAPolicy, dataset: LeRobotDataset, frames: np.ndarray, steps: Sequence[int], samples: int
) -> Iterator[Seen]:
    primary, chunk = policy.robot_spec.observation.primary_camera, policy.model.config.action_expert.chunk
    side = policy.model.config.target_side
    for start in track(range(0, len(frames), BATCH), description="imagining"):
        chosen = frames[start : start + BATCH]
        observations = [recorded(dataset, int(frame)) for frame in chosen]
        states = [as_recorded(policy, dataset, int(frame)) for frame in chosen]
        thought = policy.think(observations, states)
        told: dict[str, np.ndarray | None] = {"imagined": None}
        if policy.reads_actions:
            told["told its own actions"] = policy.propose(thought, samples)
            if dataset.actions is not None:
                done = dataset.actions[chosen[:, None] + np.arange(chunk)]
                told["told the actions"] = done[:, None].repeat(samples, 1)
        yield Seen(
            frames=chosen,
            now=resize(dataset.frames(primary)[chosen], side),
            later=resize(dataset.frames(primary)[chosen + chunk], side),
            imagined={
                f"{what}, {count} step{'s' if count > 1 else ''}": torch.from_numpy(
                    policy.picture(thought, samples=samples, steps=count, actions=actions)
                )
                for what, actions in told.items()
                for count in steps
            },
        )


def _candidates(policy: WLAPolicy, seen: Seen) -> Iterator[tuple[str, UInt8[Tensor, "B K S S 3"]]]:
    codec = policy.model.codec
    assert codec is not None
    yield from seen.imagined.items()
    yield "the present", seen.now[:, None]
    yield "what came, through the codec", codec.decode(codec.encode(seen.later.to(policy.device))).cpu()[:, None]


def _changed(now: UInt8[Tensor, "B S S 3"], later: UInt8[Tensor, "B S S 3"]) -> Tensor:
    return (now.int() - later.int()).abs().amax(-1) >= CHANGED


def _best(
    images: UInt8[Tensor, "B K S S 3"], later: UInt8[Tensor, "B S S 3"], where: Tensor, policy: WLAPolicy
) -> tuple[Quality, Quality]:
    """The mean over the samples of each frame, and each measure's best."""
    codec, count, device = policy.model.codec, images.shape[1], policy.device
    assert codec is not None
    truth, mask = (x.repeat_interleave(count, 0).to(device) for x in (later, where))
    found = compare_images(images.flatten(0, 1).to(device), truth, mask, codec)
    psnr, ssim, distance = (value.view(-1, count).cpu() for value in found)
    mean = Quality(psnr.mean(1), ssim.mean(1), distance.mean(1))
    return mean, Quality(psnr.amax(1), ssim.amax(1), distance.amin(1))


def _rows(quality: Quality, some: Tensor) -> Quality:
    return Quality(*(value[some] for value in quality))


def _row(what: str, whole: Sequence[Quality], part: Sequence[Quality]) -> Row:
    def mean(found: Sequence[Quality]) -> dict[str, float]:
        return {
            name: round(float(torch.cat([getattr(quality, name) for quality in found]).mean()), 4)
            for name in Quality._fields
        }

    return Row(what=what, **mean(whole), **{f"changed_{name}": value for name, value in mean(part).items()})


def _sheets(dataset: LeRobotDataset, seen: Seen, shown: set[int], counts: int) -> Iterator[Sheet]:
    """counts: numbers of sampling steps that each way of imagining has; of these the first is shown."""
    for row, frame in enumerate(seen.frames.tolist()):
        if frame not in shown:
            continue
        episode = dataset.episode_of(frame)
        yield Sheet(
            title=f"{episode.instruction}: episode {episode.index}, frame {frame - episode.start}",
            now=_url(seen.now[row]),
            later=_url(seen.later[row]),
            strips=[
                _strip(what, images[row], seen.later[row])
                for what, images in islice(seen.imagined.items(), 0, None, counts)
            ],
        )


def _strip(what: str, images: UInt8[Tensor, "K S S 3"], later: UInt8[Tensor, "S S 3"]) -> Strip:
    difference = (images[0].int() - later.int()).abs().amax(-1, keepdim=True).expand(-1, -1, 3)
    return Strip(what, [_url(image) for image in images[:SHOWN_SAMPLES]], _url(difference.to(torch.uint8)))


def _url(image: UInt8[Tensor, "S S 3"]) -> str:
    pixels = image.numpy()
    return data_url(jpeg(pixels, max(pixels.shape)))


def _page(quality: WorldQuality, sheets: Sequence[Sheet]) -> str:
    return template(f"evaluation/{PAGE}").render(quality=quality, sheets=sheets)
