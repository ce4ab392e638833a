"""Evaluation of a value model on held-out rollouts: calibration, rank correlation and AUROC for success."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.regression import spearman_corrcoef

from wla.config import Record
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.value_targets import ValueTargetFrames
from wla.evaluation.configs import ValueEvalConfig
from wla.files import atomic_file, disk_errors
from wla.intervals import Interval, auroc_interval
from wla.models.value_model import discounted_return
from wla.policy.value_checkpoint import ValueCheckpoint, load_value
from wla.progress import track

matplotlib.use("Agg")

from matplotlib import pyplot as plt

BATCH_SIZE = 64
NUM_BINS = 10
METRICS_FILE, PLOT = "value.json", "value.png"


class Bin(Record):
    """One calibration bin: the n frames whose score lies in one of ten equal parts of 0 .. 1, with the means of their
    scores and of their values (discounted returns)."""

    n: int
    score: float
    value: float


class ValueModelMetrics(Record):
    """Metrics over n frames of all datasets. Scores are predicted values, values are discounted returns.

    error: mean absolute difference of score and value. calibration_error: the same between a bin's means, weighted by
    the bin's frames. rank_correlation: Spearman's, between scores and values.

    AUROC is the probability that a frame of a successful episode scores above one of a failed episode; None where there
    are only successes or only failures. auroc_by_episode_quarter: for each quarter of the episodes' own length.
    auroc_by_elapsed_time: for each quarter of the median length of a dataset's successes; failed episodes often last
    longer, so halfway through its own length a failure has had more time than a success. auroc_middle: both, over the
    second and third quarter together. auroc_by_dataset: as auroc_by_episode_quarter, within each dataset, where knowing
    which task is hard does not help. auroc_intervals: 95 % intervals by episode of the first three, by their names.
    """

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
    auroc_intervals: dict[str, tuple[Interval | None, ...]]
    bins: list[Bin]


@dataclass(frozen=True)
class ScoredFrames:
    """Scored frames of one dataset. label: discounted return. Quarters: see `ValueModelMetrics`. episode: its index."""

    name: str
    score: Float[Tensor, " N"]
    label: Float[Tensor, " N"]
    success: Bool[Tensor, " N"]
    episode_quarter: Int64[Tensor, " N"]
    elapsed_quarter: Int64[Tensor, " N"]
    episode: Int64[Tensor, " N"]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The per-frame tensors, in the order of the fields."""
        return self.score, self.label, self.success, self.episode_quarter, self.elapsed_quarter, self.episode

    def auroc_by_episode_quarter(self) -> tuple[float | None, ...]:
        """AUROC of each quarter, within this dataset."""
        return _auroc_by_quarter(self.score, self.success, self.episode_quarter)


def evaluate_value(config: ValueEvalConfig, out: Path) -> ValueModelMetrics:
    """Writes `value.json` and a calibration plot, `value.png`, into `out`, and returns the metrics.

    ValueError for episodes without a record of success or failure.
    """
    value = load_value(config.value)
    scored = []
    episodes: list[bool] = []
    for dataset in (source.open() for path in config.datasets for source in DatasetConfig(path=path).expand()):
        scored.append(_score_dataset(value, dataset, config.frames, first_episode=len(episodes)))
        episodes += [bool(episode.success) for episode in dataset.episodes]
    score, label, success, episode_quarter, elapsed_quarter, episode = (
        torch.cat(parts) for parts in zip(*(frames.tensors for frames in scored), strict=True)
    )
    bins = _bins(score, label)
    metrics = ValueModelMetrics(
        value=config.value,
        episodes=len(episodes),
        successes=sum(episodes),
        n=len(score),
        error=round(float((score - label).abs().mean()), 4),
        calibration_error=round(sum(each.n * abs(each.score - each.value) for each in bins) / len(score), 4),
        rank_correlation=round(float(spearman_corrcoef(score, label)), 4),
        auroc_by_episode_quarter=_auroc_by_quarter(score, success, episode_quarter),
        auroc_by_elapsed_time=_auroc_by_quarter(score, success, elapsed_quarter),
        auroc_middle=(
            _auroc(score, success, _middle(episode_quarter)),
            _auroc(score, success, _middle(elapsed_quarter)),
        ),
        auroc_by_dataset={frames.name: frames.auroc_by_episode_quarter() for frames in scored},
        auroc_intervals={
            name: tuple(
                auroc_interval(score[mask].numpy(), success[mask].numpy(), episode[mask].numpy()) for mask in masks
            )
            for name, masks in {
                "auroc_by_episode_quarter": [episode_quarter == index for index in range(4)],
                "auroc_by_elapsed_time": [elapsed_quarter == index for index in range(4)],
                "auroc_middle": [_middle(episode_quarter), _middle(elapsed_quarter)],
            }.items()
        },
        bins=bins,
    )
    with disk_errors(out, "free disk space or choose another --out"):
        out.mkdir(parents=True, exist_ok=True)
        metrics.save(out / METRICS_FILE)
        _plot(metrics, out / PLOT)
    return metrics


def _score_dataset(value: ValueCheckpoint, dataset: LeRobotDataset, count: int, *, first_episode: int) -> ScoredFrames:
    """Scores of `count` evenly spread frames, or of all frames of a shorter dataset. first_episode: the number of its
    first episode among those of all datasets."""
    frames = ValueTargetFrames(dataset, value.camera)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int))
    scores = []
    for start in track(range(0, len(chosen), BATCH_SIZE), description=f"scoring {dataset.root.name}"):
        batch = chosen[start : start + BATCH_SIZE]
        scores.append(value.score(frames.frame_contexts(batch), frames.images[batch]))
    success = torch.from_numpy(frames.success[chosen])
    starts = [episode.start for episode in dataset.episodes]
    steps_to_go = torch.from_numpy(frames.steps_to_go[chosen])
    return ScoredFrames(
        name=str(dataset.root),
        score=torch.from_numpy(np.concatenate(scores)),
        label=discounted_return(success, steps_to_go, value.config.model.discount),
        success=success,
        episode_quarter=torch.from_numpy(_episode_quarters(dataset, chosen)),
        elapsed_quarter=torch.from_numpy(_elapsed_quarters(dataset, chosen)),
        episode=torch.from_numpy(first_episode + np.searchsorted(starts, chosen, side="right") - 1),
    )


def _episode_quarters(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
    """Quarter of its own episode that each frame is in, 0 .. 3."""
    episodes = [dataset.episode_of(int(frame)) for frame in frames]
    return np.array([4 * (frame - e.start) // len(e) for frame, e in zip(frames, episodes, strict=True)])


def _elapsed_quarters(dataset: LeRobotDataset, frames: np.ndarray) -> np.ndarray:
    """Quarter of the median length of successes that each frame is in, from 0; 4 or more when it comes later."""
    lengths = [len(episode) for episode in dataset.episodes if episode.success]
    if not lengths:
        return np.full(len(frames), 4)
    steps = np.array([frame - dataset.episode_of(int(frame)).start for frame in frames])
    return (4 * steps / np.median(lengths)).astype(int)


def _bins(score: Float[Tensor, " N"], label: Float[Tensor, " N"]) -> list[Bin]:
    indices = (score * NUM_BINS).long().clamp(max=NUM_BINS - 1)
    masks = [mask for mask in (indices == index for index in range(NUM_BINS)) if mask.any()]
    return [
        Bin(
            n=int(mask.sum()),
            score=round(float(score[mask].mean()), 4),
            value=round(float(label[mask].mean()), 4),
        )
        for mask in masks
    ]


def _auroc_by_quarter(
    score: Float[Tensor, " N"], success: Bool[Tensor, " N"], quarter: Int64[Tensor, " N"]
) -> tuple[float | None, ...]:
    """AUROC of each quarter, in order."""
    return tuple(_auroc(score, success, quarter == index) for index in range(4))


def _middle(quarter: Int64[Tensor, " N"]) -> Bool[Tensor, " N"]:
    return (quarter == 1) | (quarter == 2)


def _auroc(score: Float[Tensor, " N"], success: Bool[Tensor, " N"], mask: Bool[Tensor, " N"]) -> float | None:
    """Area under the ROC curve over the masked frames; None where all or none of them belong to successes."""
    labels = success[mask]
    if not labels.any() or labels.all():
        return None
    return round(float(binary_auroc(score[mask], labels.long())), 4)


def _plot(metrics: ValueModelMetrics, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([each.score for each in metrics.bins], [each.value for each in metrics.bins], marker="o")
    for each in metrics.bins:
        axes.annotate(f" {each.n}", (each.score, each.value), fontsize=8)
    axes.set(
        xlabel="score (mean of bin)",
        ylabel="discounted return (mean of bin)",
        title=f"{metrics.value}: calibration, {metrics.n} frames",
    )
    with atomic_file(path) as part_file:
        figure.savefig(part_file, format="png", dpi=120)
    plt.close(figure)
