"""Sharded training with DeepSpeed's ZeRO-1, as published: AdamW's moments are sharded, each process has all weights.

Weights are float32 and autocast computes in bfloat16, as in the rest of this package. The training state has the same
form as with FSDP2 or a single process, so a run can resume with either.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wla import runtime
from wla.training.configs import OptimConfig
from wla.training.learner import Learner
from wla.training.train_state import load_training_state, save_training_state

MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero1Learner(Learner):
    """A `Learner` on DeepSpeed's engine. ValueError with Muon or in a single process, ModuleNotFoundError without
    DeepSpeed."""

    def __init__(
        self,
        module: nn.Module,
        compute_losses: Callable[..., Any],
        optim: OptimConfig,
        device: torch.device,
        *,
        accumulation_steps: int,
        ema: float | None = None,
    ) -> None:
        if optim.muon:
            raise ValueError("loop.strategy zero1 supports only AdamW: set loop.optim.muon=[] or use fsdp2")
        try:
            import deepspeed
            from deepspeed import utils
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("loop.strategy zero1 needs DeepSpeed: pip install deepspeed") from error
        if runtime.world_size() == 1:
            raise ValueError("loop.strategy zero1 needs several processes: start with torchrun, or use fsdp2")
        super().__init__(
            module, compute_losses, optim, device, accumulation_steps=accumulation_steps, ema=ema, shard_weights=False
        )
        self._deepspeed_utils = utils
        self._engine, *_ = deepspeed.initialize(
            model=self.loss_module,
            optimizer=self._optimizers[0],
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": 1,  # required but unused: batches come from the objective
                "gradient_accumulation_steps": accumulation_steps,
                "gradient_clipping": optim.clip,
                "zero_optimization": {"stage": 1},
                "zero_allow_untested_optimizer": True,  # PyTorch's own AdamW
                "zero_force_ds_cpu_optimizer": False,
            },
        )

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()  # only counts the micro-batch

    def clip(self) -> float:
        """Returns the norm of the gradient before clipping; DeepSpeed clips it within its step."""
        norm = float(self._engine.optimizer.scaled_global_norm())
        return norm if norm >= 0 else float("inf")  # DeepSpeed returns -1 for a norm that is not finite

    def step(self) -> None:
        self._engine.step()
        self._update_ema()

    def save(self, folder: Path, step: int) -> None:
        moments: dict[Tensor, dict[str, Tensor]] = {}
        for parameter in self._trainable_parameters():
            values = {key: self._deepspeed_utils.safe_get_full_optimizer_state(parameter, key).cpu() for key in MOMENTS}
            moments[parameter] = {"step": torch.tensor(float(step)), **values}
        save_training_state(folder, self._module, [moments], self._ema, step)

    def load(self, folder: Path) -> int:
        moments: dict[Tensor, dict[str, Tensor]] = {}
        step = load_training_state(folder, self._module, [moments], self._ema)
        optimizer = self._engine.optimizer
        for partition in optimizer.single_partition_of_fp32_groups:
            zeros = {key: torch.zeros_like(partition) for key in MOMENTS}
            steps_done = torch.tensor(float(step), device=partition.device)
            optimizer.optimizer.state[partition] = {"step": steps_done, **zeros}
        optimizer._lazy_init_hp_params_optimizer_state()  # makes the moments accessible by parameter
        for parameter in self._trainable_parameters():
            self._deepspeed_utils.safe_set_full_fp32_param(parameter, parameter.detach())
            for key in MOMENTS:
                if parameter in moments:
                    self._deepspeed_utils.safe_set_full_optimizer_state(parameter, moments[parameter][key], key)
        return step

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._module.parameters() if parameter.requires_grad]
