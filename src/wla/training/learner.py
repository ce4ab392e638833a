"""What a training loop steps: a module with its optimisers and its average, in one process or spread over several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wla.training.ema import EMA
from wla.training.fsdp import LossModule, gather, shard
from wla.training.optim import OptimConfig, build_optimizers, freeze, schedule
from wla.training.train_state import OptimizerState, load_training_state, save_training_state


class Learner:
    """`loss_module` runs the losses of a micro-batch on the module as it is spread.

    share: how many micro-batches of a step this process has. ema: decay of the average, None for none. shard_weights:
    over the processes, by FSDP2; without it each has all of them.
    """

    def __init__(
        self,
        module: nn.Module,
        compute_losses: Callable[..., Any],
        optim: OptimConfig,
        device: torch.device,
        *,
        accumulation_steps: int,
        ema: float | None = None,
        shard_weights: bool = True,
    ) -> None:
        self._optim = optim
        self._module = module.to(device).train()
        freeze(module, optim.freeze)
        self._accumulation_steps = accumulation_steps
        self.loss_module = LossModule(module, compute_losses)
        if shard_weights:
            shard(self.loss_module, device)
        self._optimizers = build_optimizers(optim, module)
        self._ema = None if ema is None else EMA(module, ema)

    def prepare_step(self, step: int) -> float:
        """Forget the last step's gradients; the learning rate of this one."""
        rate = schedule(self._optim, step)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["peak"]
        return rate * self._optim.learning_rate

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a micro-batch; FSDP takes the mean over the processes."""
        (loss / self._accumulation_steps).backward()

    def clip(self) -> float:
        """Limit the norm of the whole gradient, of all processes and micro-batches; what it was before."""
        norm = nn.utils.clip_grad_norm_(self._module.parameters(), self._optim.clip)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def step(self) -> None:
        """Change the weights."""
        for optimizer in self._optimizers:
            optimizer.step()
        self._update_ema()

    def weights(self) -> dict[str, Tensor]:
        """What a checkpoint gets, averaged where there is an average: whole on the first process, nothing elsewhere."""
        return gather(self._module.state_dict() if self._ema is None else self._ema.state_dict(self._module))

    def save(self, folder: Path, step: int) -> None:
        """See `save_training_state`."""
        save_training_state(folder, self._module, self._optimizer_states(), self._ema, step)

    def load(self, folder: Path) -> int:
        """See `load_training_state`."""
        return load_training_state(folder, self._module, self._optimizer_states(), self._ema)

    def _optimizer_states(self) -> list[OptimizerState]:
        return [optimizer.state for optimizer in self._optimizers]

    def _update_ema(self) -> None:
        if self._ema is not None:
            self._ema.update(self._module)
