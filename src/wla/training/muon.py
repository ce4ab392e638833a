"""The Muon optimiser, in the precision that is fast on the device."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wla import runtime


class Muon(torch.optim.Muon):
    """PyTorch's Muon with orthogonalisation in `runtime.autocast_dtype` instead of always in bfloat16.

    A CPU without bfloat16 emulates it, ten times slower than float32.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Performs one update from the present gradients, see `torch.optim.Muon`; closures are not supported."""
        assert closure is None
        for group in self.param_groups:
            for value in group["params"]:
                if value.grad is not None:
                    self._update(value, group)

    def _update(self, value: Tensor, group: dict) -> None:
        assert value.grad is not None
        state = self.state[value]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(value.grad, memory_format=torch.preserve_format)
        momentum = state["momentum_buffer"]
        momentum.lerp_(value.grad, 1 - group["momentum"])
        update = value.grad.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        rows, columns = value.shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        value.mul_(1 - group["lr"] * group["weight_decay"])
        direction = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        value.add_(direction.to(value.dtype), alpha=-rate)


def orthogonal(
    matrix: Float[Tensor, "N M"], coefficients: tuple[float, float, float], steps: int, eps: float
) -> Float[Tensor, "N M"]:
    """Returns approximately U V^T of the matrix U S V^T, by Newton-Schulz iteration: singular values close to 1."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(runtime.autocast_dtype(matrix.device))
    x = x.T if tall else x
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
