"""An exponential moving average of the trained weights: what is shipped when a recipe asks for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EMA:
    """average = decay * average + (1 - decay) * weights after each step, beginning at the initial weights.

    values: parameter name -> its average. Parameters that are not trained have none.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        self.values = {name: value.detach().clone() for name, value in module.named_parameters() if value.requires_grad}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """After an optimiser step."""
        for name, value in module.named_parameters():
            if name in self.values:
                self.values[name].lerp_(value, 1 - self._decay)

    def state_dict(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's state with averaged weights, under each of the names that a tied weight has."""
        names = {value: name for name, value in module.named_parameters()}
        averaged = {
            alias: self.values[names[value]]
            for alias, value in module.named_parameters(remove_duplicate=False)
            if names[value] in self.values
        }
        return module.state_dict() | averaged
