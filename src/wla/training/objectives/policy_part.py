"""Training of one part of a finished policy: the others stay bit for bit what they are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar

from torch import Tensor, nn

from wla import runtime
from wla.models import WLA, WLAConfig
from wla.policy import save_checkpoint
from wla.policy.checkpoint import CheckpointConfig
from wla.training.objectives.configs import PolicyDataConfig, PolicyPartTrainConfig
from wla.training.objectives.finished_policy import finished_policy
from wla.training.objectives.mixture_objective import MixtureObjective

ConfigT = TypeVar("ConfigT", bound=PolicyPartTrainConfig)


class PolicyPartObjective(MixtureObjective[ConfigT]):
    """Base of the objectives that train one part of a model without its World Expert, whose weights are saved as they
    were.

    part: name of the trained module in the model.
    """

    part: ClassVar[str]
    model: WLA

    def __init__(self, config: ConfigT) -> None:
        runtime.seed_everything(config.loop.seed)
        super().__init__(config, config.loop)
        checkpoint, before = finished_policy(config.policy, self.data.datasets)
        self.model = WLA(self.model_config(before.config), imagination=False)
        self._before, own = before.state_dict(), self.model.state_dict()
        # What the policy does not know, or in another size, has no effect at first.
        known = {name: value for name, value in self._before.items() if name in own and value.shape == own[name].shape}
        self.model.load_state_dict(own | known)
        self.model.requires_grad_(False)
        self.model.get_submodule(self.part).requires_grad_(True)
        changed = self.checkpoint_config(checkpoint.config.replace(model=self.model.config))
        self.begin(before, changed)
        self.train_on(replace(checkpoint, config=changed, model=self.model))

    @abstractmethod
    def model_config(self, before: WLAConfig) -> WLAConfig:
        """The model's configuration, from that of the policy."""

    def checkpoint_config(self, config: CheckpointConfig) -> CheckpointConfig:
        """The checkpoint's configuration, from that with the changed model."""
        return config

    def begin(self, before: WLA, config: CheckpointConfig) -> None:
        """Receives the policy's model before anything is trained, and the checkpoint's configuration."""

    @property
    def window_config(self) -> PolicyDataConfig:
        return super().window_config.replace(memory_augmentation=self.config.memory_augmentation)

    @property
    def module(self) -> nn.Module:
        return self.model

    def save(self, folder: Path, step: int, weights: dict[str, Tensor]) -> None:
        """The policy, with the part as it is now."""
        save_checkpoint(self.checkpoint, folder, weights=self._before | weights)
