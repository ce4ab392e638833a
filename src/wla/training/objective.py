"""What the training loop steps: an `Objective`, and the loop's configuration, the same for every objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from wla.config import Config

if TYPE_CHECKING:
    from wla.training.learner import Learner

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


@dataclass(frozen=True)
class EpisodeValidation:
    """Validation by episodes. evaluate: returns their metrics; the checkpoint with the highest `reward` is the best."""

    evaluate: Callable[[Learner], dict[str, float]]


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
    def validation(self) -> Validation | EpisodeValidation | None:
        """Held-out episodes; None for a recipe that names none."""
        ...

    def sample_batch(self, samples: int, generator: torch.Generator) -> Any:
        """Returns a batch of `samples` samples on the CPU; all randomness comes from the generator.

        It may run in another thread before its step, so it must not read anything that training changes.
        """
        ...

    def prepare_step(self, batches: Sequence[Any]) -> None:
        """Receives this process's micro-batches of the next step, all sampled, before their losses are computed.

        All processes call it for every step, so they may communicate.
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
    """What objectives have in common that say nothing about their data, hold no episodes out and prepare no step."""

    @property
    def description(self) -> str:
        return ""

    @property
    def validation(self) -> Validation | EpisodeValidation | None:
        return None

    def prepare_step(self, batches: Sequence[Any]) -> None:
        pass


class OnPolicyObjective(ABC):
    """An objective whose batches are made with its own weights: a step of the loop is an update, which runs episodes
    and takes as many steps of the optimiser as it likes. Everything random in it follows from its number.

    The members that `Objective` has too are the same, except that compute_losses gets what `update` passes to
    `Learner.loss_module`.
    """

    description = ""

    @property
    @abstractmethod
    def config(self) -> Config: ...

    @property
    @abstractmethod
    def module(self) -> nn.Module: ...

    @property
    @abstractmethod
    def episodes(self) -> int:
        """Episodes of an update: the samples of which the speed is reported."""

    @property
    @abstractmethod
    def validation(self) -> EpisodeValidation | None: ...

    @abstractmethod
    def update(self, step: int, learner: Learner, device: torch.device) -> dict[str, float]:
        """Performs an update and returns its metrics, `loss`, `grad_norm` and `lr` among them. TrainingStopped, before
        the weights change, when a loss or gradient is not finite."""

    @abstractmethod
    def compute_losses(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]: ...

    @abstractmethod
    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None: ...

    @abstractmethod
    def resume(self, folder: Path) -> bool: ...

    @abstractmethod
    def close(self) -> None:
        """Ends what its episodes run in."""


AnyObjective = Objective | OnPolicyObjective
"""What the training loop steps."""
