"""Whether a value model's numbers can be trusted, on rollouts that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from rich.progress import track
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import spearman_corrcoef

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.loader import DatasetConfig
from wla.data.value_targets import LabelledFrames
from wla.evaluation.configs import ValueEvalConfig
from wla.files import disk_errors, replacing_file
from wla.models.value_model import discounted
from wla.policy.value_checkpoint import load_value

matplotlib.use("Agg")

from matplotlib import pyplot as plt

BATCH = 64
BINS = 10
FIGURES, PLOT = "value.json", "value.png"


class Bin(Config):
    """Frames whose score lies in one of ten equal parts of 0 .. 1: the means of their scores and of their values."""

    n: int
    score: float
    value: float


class ValueQuality(Config):
    """rank_correlation: Spearman's, of scores and values. separation: how often a frame of an episode that succeeds
    scores above one of an episode that fails (the area under the ROC curve), by quarters of the episodes' time; None
    where there are only successes or only failures. at_the_same_time: the same by quarters of the time that a dataset's
    successes take (their median): an episode that fails often lasts longer, so that after half of its own time it is
    further on than a success after half of its. middle: both measures, of the second and third quarter together.
    within: as separation, within each dataset, where knowing which task is hard does not help. error: mean distance of
    score and value. calibration_error: the same of a bin's means, weighted by its frames."""

    value: str
    episodes: int
    successes: int
    n: int
    error: float
    calibration_error: float
    rank_correlation: float
    separation: tuple[float | None, ...]
    at_the_same_time: tuple[float | None, ...]
    middle: tuple[float | None, float | None]
    within: dict[str, tuple[float | None, ...]]
    bins: list[Bin]


def evaluate_value(config: ValueEvalConfig, out: Path) -> ValueQuality:
    """Write `value.json` and a calibration curve, `value.png`, into `out`. ValueError for episodes that do not say
    whether they succeeded."""
    value = load_value(config.value)
    scores, labels, success, quarters, elapsed = [], [], [], [], []
    episodes: list[bool] = []
    names: list[str] = []
    sizes: list[int] = []
    for found in (found.open() for path in config.datasets for found in DatasetConfig(path=path).expand()):
        frames = LabelledFrames(found, value.camera)
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(config.frames, len(frames))).round().astype(int))
        for start in track(range(0, len(chosen), BATCH), description=f"scoring {found.root.name}"):
            rows = chosen[start : start + BATCH]
            scores.append(value.score(frames.moments(rows), frames.images[rows]))
        labels.append(
            discounted(
                torch.from_numpy(frames.success[chosen]),
                torch.from_numpy(frames.left[chosen]),
                value.config.model.discount,
            )
        )
        success.append(frames.success[chosen])
        quarters.append(_quarters(found, chosen))
        elapsed.append(_elapsed(found, chosen))
        episodes += [bool(episode.success) for episode in found.episodes]
        names.append(str(found.root))
        sizes.append(len(chosen))
    score, label = torch.from_numpy(np.concatenate(scores)), torch.cat(labels)
    reached, quarter = torch.from_numpy(np.concatenate(success)), torch.from_numpy(np.concatenate(quarters))
    time = torch.from_numpy(np.concatenate(elapsed))
    parts = zip(names, *(x.split(sizes) for x in (score, reached, quarter)), strict=True)
    bins = _bins(score, label)
    quality = ValueQuality(
        value=config.value,
        episodes=len(episodes),
        successes=sum(episodes),
        n=len(score),
        error=round(float((score - label).abs().mean()), 4),
        calibration_error=round(sum(part.n * abs(part.score - part.value) for part in bins) / len(score), 4),
        rank_correlation=round(float(spearman_corrcoef(score, label)), 4),
        separation=_separation(score, reached, quarter),
        at_the_same_time=_separation(score, reached, time),
        middle=(_area(score, reached, _middle(quarter)), _area(score, reached, _middle(time))),
        within={name: _separation(*part) for name, *part in parts},
        bins=bins,
    )
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        quality.save(out / FIGURES)
        _plot(quality, out / PLOT)
    return quality


def _quarters(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
    """In which quarter of its episode each frame is."""
    episodes = [dataset.episode_of(int(frame)) for frame in frames]
    return np.array([4 * (frame - e.start) // len(e) for frame, e in zip(frames, episodes, strict=True)])


def _elapsed(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
    """In which quarter of the time that successes take each frame is, 4 and more when it is later than these."""
    lengths = [len(episode) for episode in dataset.episodes if episode.success]
    if not lengths:
        return np.full(len(frames), 4)
    steps = np.array([frame - dataset.episode_of(int(frame)).start for frame in frames])
    return (4 * steps / np.median(lengths)).astype(int)


def _bins(score: Float[torch.Tensor, " N"], label: Float[torch.Tensor, " N"]) -> list[Bin]:
    where = (score * BINS).long().clamp(max=BINS - 1)
    return [
        Bin(
            n=int((where == part).sum()),
            score=round(float(score[where == part].mean()), 4),
            value=round(float(label[where == part].mean()), 4),
        )
        for part in range(BINS)
        if (where == part).any()
    ]


def _separation(
    score: Float[torch.Tensor, " N"], reached: Bool[torch.Tensor, " N"], quarter: Int64[torch.Tensor, " N"]
) -> tuple[float | None, ...]:
    """For each quarter of the episodes' time."""
    return tuple(_area(score, reached, quarter == part) for part in range(4))


def _middle(quarter: Int64[torch.Tensor, " N"]) -> Bool[torch.Tensor, " N"]:
    return (quarter == 1) | (quarter == 2)


def _area(
    score: Float[torch.Tensor, " N"], reached: Bool[torch.Tensor, " N"], where: Bool[torch.Tensor, " N"]
) -> float | None:
    """Under the ROC curve of these frames, None where all or none of them are of a success."""
    good = reached[where]
    if not good.any() or good.all():
        return None
    return round(float(binary_auroc(score[where], good.long())), 4)


def _plot(quality: ValueQuality, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([part.score for part in quality.bins], [part.value for part in quality.bins], marker="o")
    for part in quality.bins:
        axes.annotate(f" {part.n}", (part.score, part.value), fontsize=8)
    axes.set(xlabel="score", ylabel="value, in the end", title=f"{quality.value}: calibration, {quality.n} frames")
    with replacing_file(path) as part_file:
        figure.savefig(part_file, format="png", dpi=120)
    plt.close(figure)
