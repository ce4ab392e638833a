"""Whether a value model's numbers can be trusted, on rollouts that it was not trained on."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import spearman_corrcoef

from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.loader import DatasetConfig
from wla.data.value_targets import ValueTargetFrames
from wla.evaluation.configs import ValueEvalConfig
from wla.files import atomic_file, disk_errors
from wla.models.value_model import discounted_return
from wla.policy.value_checkpoint import load_value
from wla.progress import track

matplotlib.use("Agg")

from matplotlib import pyplot as plt

BATCH = 64
BINS = 10
METRICS_FILE, PLOT = "value.json", "value.png"


class Bin(Config):
    """Frames whose score lies in one of ten equal parts of 0 .. 1: the means of their scores and of their values."""

    n: int
    score: float
    value: float


class ValueModelMetrics(Config):
    """rank_correlation: Spearman's, of scores and values. separation: how often a frame of an episode that succeeds
    scores above one of an episode that fails (the area under the ROC curve), by quarters of the episodes' time; None
    where there are only successes or only failures. auroc_by_elapsed_time: the same by quarters of the time that a dataset's
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
    auroc_by_episode_quarter: tuple[float | None, ...]
    auroc_by_elapsed_time: tuple[float | None, ...]
    auroc_middle: tuple[float | None, float | None]
    auroc_by_dataset: dict[str, tuple[float | None, ...]]
    bins: list[Bin]


def evaluate_value(config: ValueEvalConfig, out: Path) -> ValueModelMetrics:
    """Write `value.json` and a calibration curve, `value.png`, into `out`. ValueError for episodes that do not say
    whether they succeeded."""
    value = load_value(config.value)
    scores, labels, success, quarters, elapsed = [], [], [], [], []
    episodes: list[bool] = []
    names: list[str] = []
    sizes: list[int] = []
    for found in (found.open() for path in config.datasets for found in DatasetConfig(path=path).expand()):
        frames = ValueTargetFrames(found, value.camera)
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(config.frames, len(frames))).round().astype(int))
        for start in track(range(0, len(chosen), BATCH), description=f"scoring {found.root.name}"):
            rows = chosen[start : start + BATCH]
            scores.append(value.score(frames.frame_contexts(rows), frames.images[rows]))
        labels.append(
            discounted_return(
                torch.from_numpy(frames.success[chosen]),
                torch.from_numpy(frames.steps_to_go[chosen]),
                value.config.model.discount,
            )
        )
        success.append(frames.success[chosen])
        quarters.append(_episode_quarters(found, chosen))
        elapsed.append(_elapsed_quarters(found, chosen))
        episodes += [bool(episode.success) for episode in found.episodes]
        names.append(str(found.root))
        sizes.append(len(chosen))
    score, label = torch.from_numpy(np.concatenate(scores)), torch.cat(labels)
    succeeded, quarter = torch.from_numpy(np.concatenate(success)), torch.from_numpy(np.concatenate(quarters))
    time = torch.from_numpy(np.concatenate(elapsed))
    parts = zip(names, *(x.split(sizes) for x in (score, succeeded, quarter)), strict=True)
    bins = _bins(score, label)
    quality = ValueModelMetrics(
        value=config.value,
        episodes=len(episodes),
        successes=sum(episodes),
        n=len(score),
        error=round(float((score - label).abs().mean()), 4),
        calibration_error=round(sum(part.n * abs(part.score - part.value) for part in bins) / len(score), 4),
        rank_correlation=round(float(spearman_corrcoef(score, label)), 4),
        auroc_by_episode_quarter=_auroc_by_quarter(score, succeeded, quarter),
        auroc_by_elapsed_time=_auroc_by_quarter(score, succeeded, time),
        auroc_middle=(_auroc(score, succeeded, _middle(quarter)), _auroc(score, succeeded, _middle(time))),
        auroc_by_dataset={name: _auroc_by_quarter(*part) for name, *part in parts},
        bins=bins,
    )
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        quality.save(out / METRICS_FILE)
        _plot(quality, out / PLOT)
    return quality


def _episode_quarters(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
    """In which quarter of its episode each frame is."""
    episodes = [dataset.episode_of(int(frame)) for frame in frames]
    return np.array([4 * (frame - e.start) // len(e) for frame, e in zip(frames, episodes, strict=True)])


def _elapsed_quarters(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
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


def _auroc_by_quarter(
    score: Float[torch.Tensor, " N"], succeeded: Bool[torch.Tensor, " N"], quarter: Int64[torch.Tensor, " N"]
) -> tuple[float | None, ...]:
    """For each quarter of the episodes' time."""
    return tuple(_auroc(score, succeeded, quarter == part) for part in range(4))


def _middle(quarter: Int64[torch.Tensor, " N"]) -> Bool[torch.Tensor, " N"]:
    return (quarter == 1) | (quarter == 2)


def _auroc(
    score: Float[torch.Tensor, " N"], succeeded: Bool[torch.Tensor, " N"], where: Bool[torch.Tensor, " N"]
) -> float | None:
    """Under the ROC curve of these frames, None where all or none of them are of a success."""
    good = succeeded[where]
    if not good.any() or good.all():
        return None
    return round(float(binary_auroc(score[where], good.long())), 4)


def _plot(quality: ValueModelMetrics, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([part.score for part in quality.bins], [part.value for part in quality.bins], marker="o")
    for part in quality.bins:
        axes.annotate(f" {part.n}", (part.score, part.value), fontsize=8)
    axes.set(xlabel="score", ylabel="value, in the end", title=f"{quality.value}: calibration, {quality.n} frames")
    with atomic_file(path) as part_file:
        figure.savefig(part_file, format="png", dpi=120)
    plt.close(figure)
