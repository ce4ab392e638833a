"""Several processes in the published way: DeepSpeed's ZeRO-1 spreads AdamW's moments, each process has all weights.

Weights are float32 and computed with in bfloat16 by autocast, as everywhere here. What is stored is what the other ways
store, so any of them goes on from it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wla import runtime
from wla.training.learner import Learner
from wla.training.optim import OptimConfig
from wla.training.train_state import load_training_state, save_training_state

MOMENTS = ("exp_avg", "exp_avg_sq")


class Zero1Learner(Learner):
    """See `Learner`. ValueError without torchrun and with Muon, ModuleNotFoundError without DeepSpeed."""

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
            raise ValueError("loop.strategy zero1 trains with AdamW alone: set loop.optim.muon=[] or use fsdp2")
        try:
            import deepspeed
            from deepspeed import utils
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("loop.strategy zero1 needs DeepSpeed: pip install 'wla[deepspeed]'") from error
        if runtime.world_size() == 1:
            raise ValueError("loop.strategy zero1 is for several processes: start with torchrun, or use fsdp2")
        super().__init__(
            module, compute_losses, optim, device, accumulation_steps=accumulation_steps, ema=ema, shard_weights=False
        )
        self._whole = utils
        self._engine, *_ = deepspeed.initialize(
            model=self.loss_module,
            optimizer=self._optimizers[0],
            dist_init_required=False,
            config={
                "train_micro_batch_size_per_gpu": 1,  # counted here, used nowhere: batches come from the task
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
            self._engine.step()  # only counts

    def clip(self) -> float:
        """The norm of the gradient; DeepSpeed limits it as it steps."""
        norm = float(self._engine.optimizer.scaled_global_norm())
        return norm if norm >= 0 else float("inf")  # it says -1 of what is not finite

    def step(self) -> None:
        self._engine.step()
        self._update_ema()

    def save(self, folder: Path, step: int) -> None:
        moments: dict[Tensor, dict[str, Tensor]] = {}
        for parameter in self._trainable_parameters():
            moment = {key: self._whole.safe_get_full_optimizer_state(parameter, key).cpu() for key in MOMENTS}
            moments[parameter] = {"step": torch.tensor(float(step)), **moment}
        save_training_state(folder, self._module, [moments], self._ema, step)

    def load(self, folder: Path) -> int:
        moments: dict[Tensor, dict[str, Tensor]] = {}
        step = load_training_state(folder, self._module, [moments], self._ema)
        optimizer = self._engine.optimizer
        for partition in optimizer.single_partition_of_fp32_groups:
            zeros = {key: torch.zeros_like(partition) for key in MOMENTS}
            done = torch.tensor(float(step), device=partition.device)
            optimizer.optimizer.state[partition] = {"step": done, **zeros}
        optimizer._lazy_init_hp_params_optimizer_state()  # lets the moments be reached by parameter
        for parameter in self._trainable_parameters():
            self._whole.safe_set_full_fp32_param(parameter, parameter.detach())
            for key in MOMENTS:
                if parameter in moments:
                    self._whole.safe_set_full_optimizer_state(parameter, moments[parameter][key], key)
        return step

    def _trainable_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self._module.parameters() if parameter.requires_grad]
