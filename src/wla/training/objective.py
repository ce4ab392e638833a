"""What the training loop steps: an `Objective`, and the loop's configuration, the same for every objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from wla.config import Config
from wla.training.optim import OptimConfig


class WandbConfig(Config):
    """Weights & Biases (`wandb login` first; with WANDB_MODE=offline nothing is sent until `wandb sync`)."""

    project: str
    """Project of the run."""
    entity: str | None = None
    """User or team; the default one when left out."""
    name: str | None = None
    """Name of the run; that of its folder when left out."""


class LoopConfig(Config):
    """Configuration of the training loop, the same for every objective."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"strategy", "save_every", "keep", "log_every", "tensorboard", "wandb", "validation_every", "device"}
    )

    optim: OptimConfig
    batch_size: int = Field(default=64, ge=1)
    """Samples per step, over all micro-batches and processes."""
    micro_batches: int = Field(default=1, ge=1)
    """Micro-batches per step (gradient accumulation): losses and gradients are the mean over them. Several processes
    divide them among themselves."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights; the checkpoint then holds the averaged weights."""
    strategy: Literal["fsdp2", "zero1"] = "fsdp2"
    """Sharding over several processes: PyTorch's FSDP2 shards weights, gradients and optimiser state; DeepSpeed's
    ZeRO-1, as in the published training, the optimiser state alone."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of batches, noise and dropout."""
    save_every: int = Field(default=500, ge=1)
    """Steps between two saves."""
    keep: int = Field(default=2, ge=1)
    """Number of saves that are kept; older ones are removed once a new one is complete."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl and, without a terminal, of the log."""
    tensorboard: bool = False
    """Also write TensorBoard events, into RUN/tensorboard (needs `pip install tensorboard`)."""
    wandb: WandbConfig | None = None
    """Also log to Weights & Biases (needs `pip install wandb`): loop.wandb.project=NAME."""
    validation_every: int | None = Field(default=None, ge=1)
    """Steps between two evaluations of the loss on held-out episodes, which the recipe names (`validation_datasets`,
    `datasets.0.validation_fraction`). The checkpoint with the lowest one so far is saved, and RUN/best names it."""
    validation_samples: int = Field(default=256, ge=1)
    """Samples of an evaluation of the held-out loss, the same each time."""
    device: str | None = None
    """Device to train on (cuda, cpu); None is a GPU where there is one."""

    @model_validator(mode="after")
    def _require_divisible(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batches {self.micro_batches}; change one"
            )
        return self


StepLosses = tuple[dict[str, Tensor], list[str]]
"""Loss terms of a batch as scalars ("loss" is minimised, all are logged) and the ids of its samples."""


@dataclass(frozen=True)
class Validation:
    """Held-out episodes and the losses on them.

    sample_batch: as `Objective.sample_batch`. compute_losses: batch, device and generator to each loss term's mean over
    its targets, and their number. weights: of the terms in the loss.
    """

    sample_batch: Callable[[int, torch.Generator], Any]
    compute_losses: Callable[[Any, torch.device, torch.Generator], dict[str, tuple[Tensor, int]]]
    weights: Mapping[str, float]


class Objective(Protocol):
    """The trained module with its batches, its losses and its checkpoint format."""

    @property
    def config(self) -> Config:
        """Recipe that it was built from; a resumed run has to have the same."""
        ...

    @property
    def module(self) -> nn.Module:
        """Module whose parameters are trained."""
        ...

    @property
    def description(self) -> str:
        """Lines about the data of each loss, which are printed before the first step; "" for none."""
        ...

    @property
    def validation(self) -> Validation | None:
        """Held-out episodes; None for a recipe that names none."""
        ...

    def sample_batch(self, samples: int, generator: torch.Generator) -> Any:
        """Returns a batch of `samples` samples on the CPU; all randomness comes from the generator.

        It may run in another thread before its step, so it must not read anything that training changes.
        """
        ...

    def compute_losses(self, step: int, batch: Any, device: torch.device, generator: torch.Generator) -> StepLosses:
        """Forward pass of a sampled micro-batch; its noise continues the batch's generator.

        The blocks of the module that it runs and the terms that it returns depend on the step alone, because all
        processes must agree on them.
        """
        ...

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """Writes a checkpoint that is ready for use. weights: the gathered state dict; the module's own may be
        sharded."""
        ...

    def resume(self, folder: Path) -> bool:
        """Takes from the last checkpoint what was made of the data when the run was started: ranges and tokens.

        The datasets may have grown since, and the weights belong to what they were. Returns True when they would give
        other ranges now. ValueError when the checkpoint does not fit the recipe.
        """
        ...


class BaseObjective:
    """What objectives have in common that say nothing about their data and hold no episodes out."""

    @property
    def description(self) -> str:
        return ""

    @property
    def validation(self) -> Validation | None:
        return None
