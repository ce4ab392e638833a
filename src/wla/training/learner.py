"""The learner: a module with its optimisers and EMA, in one process or sharded over several."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from wla.training.configs import OptimConfig
from wla.training.ema import EMA
from wla.training.freeze import freeze
from wla.training.fsdp import LossModule, gather, reshard, shard
from wla.training.optim import build_optimizers, schedule
from wla.training.train_state import OptimizerState, load_training_state, save_training_state


class Learner:
    """A module in training: `loss_module` computes a micro-batch's losses on it, the other methods update it.

    accumulation_steps: micro-batches per step of this process. ema: decay of the weights' moving average, None for
    none. shard_weights: shard the weights over the processes by FSDP2; otherwise each process holds all of them.
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
        """Clears the gradients, sets the step's learning rates and returns that of AdamW."""
        factor = schedule(self._optim, step)
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = factor * group["peak"]
        return factor * self._optim.learning_rate

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a micro-batch; FSDP takes the mean over the processes.

        A batch without any target teaches nothing: its loss has no gradient. With several processes it has one, of
        dummy targets, so all of them come here.
        """
        if loss.requires_grad:
            (loss / self._accumulation_steps).backward()

    def clip(self) -> float:
        """Clips the norm of the gradient over all processes and micro-batches; returns the norm before clipping."""
        norm = nn.utils.clip_grad_norm_(self._module.parameters(), self._optim.clip)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def step(self) -> None:
        """Updates the weights and their average."""
        for optimizer in self._optimizers:
            optimizer.step()
        self._update_ema()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Context in which the module has the weights of a checkpoint, averaged if there is an EMA, and no dropout."""
        self._module.eval()
        with torch.no_grad(), self._ema.swapped(self._module) if self._ema is not None else nullcontext():
            try:
                yield
            finally:
                reshard(self.loss_module)
        self._module.train()

    def weights(self) -> dict[str, Tensor]:
        """Returns the state dict for a checkpoint, averaged if there is an EMA: complete on rank zero, empty on the
        other ranks. All processes must call it."""
        return gather(self._module.state_dict() if self._ema is None else self._ema.state_dict(self._module))

    def save(self, folder: Path, step: int) -> None:
        """Saves the training state after `step` steps: see `save_training_state`."""
        save_training_state(folder, self._module, self._optimizer_states(), self._ema, step)

    def load(self, folder: Path) -> int:
        """Restores the training state and returns the number of steps done: see `load_training_state`."""
        return load_training_state(folder, self._module, self._optimizer_states(), self._ema)

    def _optimizer_states(self) -> list[OptimizerState]:
        return [optimizer.state for optimizer in self._optimizers]

    def _update_ema(self) -> None:
        if self._ema is not None:
            self._ema.update(self._module)
