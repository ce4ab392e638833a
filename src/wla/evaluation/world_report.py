"""The page of imagined images: metrics, and for some frames what was seen, imagined and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import UInt8
from torch import Tensor

from wla.data.lerobot.reader import LeRobotDataset
from wla.evaluation.world_images import (
    COPY_BASELINE,
    IMAGINED,
    OTHER_CHUNK,
    OWN_CHUNK,
    RECONSTRUCTION,
    RECORDED_CHUNK,
    ImaginedBatch,
)
from wla.evaluation.world_metrics import WorldModelMetrics
from wla.html import data_url, jpeg, template

REPORT_FILE = "world.html"
REPORT_SAMPLES = 3
"""Maximum number of samples in the report, per frame and method."""
EXPLANATIONS = {
    IMAGINED: "Subgoal image at the end of the chunk, conditioned on the policy's own query states: the model chooses "
    "what to imagine. n steps: flow steps of sampling.",
    OWN_CHUNK: "Subgoal image conditioned on an action chunk that the policy sampled for this frame: what it expects "
    "of its own actions. Where these differ from the recorded ones, the ground truth shows another outcome.",
    RECORDED_CHUNK: "Subgoal image conditioned on the recorded actions, whose outcome the ground truth shows: the test "
    "of the model's dynamics.",
    OTHER_CHUNK: "Subgoal image conditioned on the recorded actions of another frame. Where it is no worse than with "
    "the frame's own, images do not follow the actions.",
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


def frame_images(
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


def render_report(metrics: WorldModelMetrics, sheets: Sequence[FrameImages]) -> str:
    """The page. sheets: of the frames in it."""
    methods = " ".join(row.method for row in metrics.rows)
    absent = {
        name
        for name in (IMAGINED, OWN_CHUNK, RECORDED_CHUNK, OTHER_CHUNK, "best of n")
        if name.removesuffix("n") not in methods
    }
    explanations = {name: text for name, text in EXPLANATIONS.items() if name not in absent}
    page = template(f"evaluation/{REPORT_FILE}")
    return page.render(metrics=metrics, copy_baseline=COPY_BASELINE, sheets=sheets, explanations=explanations)
