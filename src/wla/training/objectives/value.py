"""Training a value model on rollouts, failures included: what each frame was worth in the end."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from wla import runtime
from wla.config import Config
from wla.data.prompts.nano import PromptConfig
from wla.data.transforms import jitter, resize
from wla.data.value_targets import ValueTargetFrames
from wla.models.backbones.nano import NanoBackbone, NanoBackboneConfig
from wla.models.value_model import ValueConfig, ValueModel, discounted_return
from wla.policy.checkpoint import load_checkpoint
from wla.policy.hub import resolve
from wla.policy.value_checkpoint import ValueCheckpoint, ValueCheckpointConfig
from wla.training.datasets import open_datasets
from wla.training.sampling import numpy_rng, sample_frames
from wla.training.trainer import LoopConfig, StepLosses
from wla.types import FrameContext

MAX_SHIFT_PIXELS, MAX_BRIGHTNESS_CHANGE = 3, 0.15
"""How far images are shifted, in pixels, and made brighter or darker, so that rollouts are not learned by heart."""


class ValueTrainConfig(Config):
    """Recipe of a value model."""

    policy: str
    """A checkpoint whose backbone reads, with the camera that it imagines the future of."""
    datasets: tuple[str, ...]
    """Rollouts: folders of datasets whose episodes say whether they succeeded (`wla collect --policy`)."""
    discount: float = 0.98
    """See `ValueConfig`."""
    loop: LoopConfig

    def build(self) -> ValueObjective:
        return ValueObjective(self)


class ValueBatch(NamedTuple):
    """Frames, what was to be done there, what they were worth, and their names."""

    tokens: Int64[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    times: Int64[Tensor, "B 2"]
    images: UInt8[Tensor, "B H W 3"]
    values: Float[Tensor, " B"]
    names: list[str]


class ValueObjective:
    """A `wla.training.trainer.Objective`."""

    def __init__(self, config: ValueTrainConfig) -> None:
        runtime.seed_everything(config.loop.seed)
        self.config = config
        checkpoint = load_checkpoint(resolve(config.policy), imagination=False)
        prompt, backbone = checkpoint.config.prompt, checkpoint.config.model.backbone
        if not isinstance(prompt, PromptConfig) or not isinstance(backbone, NanoBackboneConfig):
            raise ValueError(f"policy {config.policy}: value models are made of nano's backbone so far")
        primary = checkpoint.model.backbone.primary
        sizes = backbone.replace(cameras={primary: backbone.cameras[primary]})
        model = ValueModel(ValueConfig(backbone=sizes, discount=config.discount))
        assert isinstance(model.backbone, NanoBackbone)
        known = checkpoint.model.backbone.state_dict()
        model.backbone.load_state_dict({key: known[key] for key in model.backbone.state_dict()})
        file = ValueCheckpointConfig(model=model.config, prompt=prompt.replace(language=False))
        self.value = ValueCheckpoint(file, model, checkpoint.tokenizer)
        self.frames = [ValueTargetFrames(dataset, primary) for dataset in open_datasets(config.datasets)]

    @property
    def module(self) -> nn.Module:
        return self.value.model

    def sample_batch(self, samples: int, generator: torch.Generator) -> ValueBatch:
        rng = numpy_rng(generator)
        side = self.value.config.model.backbone.cameras[self.value.camera]
        names: list[str] = []
        moments: list[FrameContext] = []
        images, success, left = [], [], []
        for number, rows in sample_frames([len(frames) for frames in self.frames], samples, rng):
            frames = self.frames[number]
            names += [frames.dataset.frame_id(int(row)) for row in rows]
            moments += frames.frame_contexts(rows)
            images.append(resize(frames.images[rows], side))
            success.append(frames.success[rows])
            left.append(frames.steps_to_go[rows])
        tokens, mask, times = self.value.model_inputs(moments)
        seen = jitter(torch.cat(images), rng, max_shift=MAX_SHIFT_PIXELS, brightness=MAX_BRIGHTNESS_CHANGE)
        reached = torch.from_numpy(np.concatenate(success))
        values = discounted_return(reached, torch.from_numpy(np.concatenate(left)), self.config.discount)
        return ValueBatch(tokens, mask, times, seen, values, names)

    def compute_losses(
        self, step: int, batch: ValueBatch, device: torch.device, generator: torch.Generator
    ) -> StepLosses:
        tokens, mask, times, images, values = (part.to(device) for part in batch[:-1])
        logits = self.value.model(tokens, mask, {self.value.camera: images}, times)
        loss = self.value.model.loss(logits, values)
        absolute_error = (logits.detach().sigmoid() - values).abs().mean()
        return {"loss": loss, "absolute_error": absolute_error}, batch.names

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        self.value.save(folder, weights)
