"""How weights and intermediate results lie in memory, so that a CPU reads them fast."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wla.hardware import Precision, cpu_vendor, has_amx

ModuleT = TypeVar("ModuleT", bound=nn.Module)


def laid_out(module: ModuleT) -> ModuleT:
    """A copy whose weights lie in memory as products of few rows read them fastest on a CPU (half of the time for ten
    rows)."""
    copy = deepcopy(module).requires_grad_(False).eval()
    for part in copy.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()
        elif isinstance(part, Product):
            part.weight.data = part.weight.data.contiguous()
    return copy


class Product(nn.Module):
    """A linear layer in the precision of its weights, between numbers in the precision of its inputs.

    The bias is added in the loop that reads the product, and not by the product. exact: never in half precision.
    onednn: whether oneDNN computes it, from weights with a row for each output (see `by_onednn`).
    """

    weight: Float[Tensor, "D E"] | Float[Tensor, "E D"]
    bias: Float[Tensor, " E"] | None

    def __init__(self, weight: Float[Tensor, "D E"], bias: Float[Tensor, " E"] | None, *, exact: bool = False) -> None:
        super().__init__()
        self.exact, self.onednn = exact, False
        self.weight = nn.Parameter(weight.detach(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N E"]:
        inputs = x.to(self.weight.dtype)
        if self.onednn:
            found = cast(Tensor, torch.ops.mkldnn._linear_pointwise(inputs, self.weight, None, "none", [], ""))
        else:
            found = inputs @ self.weight
        found = found.to(x.dtype)
        return found if self.bias is None else found + self.bias


def onednn_computes() -> bool:
    """Whether oneDNN computes products of many rows: on AMD's processors, where MKL takes twice as long (measured on a
    Zen 5)."""
    return torch.backends.mkldnn.is_available() and cpu_vendor() == "AuthenticAMD"


def written_out(precision: Precision) -> bool:
    """Whether products are code of the functions' own (for AMX), which begins at once."""
    return precision == "bfloat16" and has_amx()


def by_onednn(module: nn.Module) -> None:
    """From now on oneDNN computes the products of a module, which reads weights by rows."""
    for part in module.modules():
        if isinstance(part, Product) and not part.onednn:
            part.onednn, part.weight.data = True, part.weight.data.t().contiguous()


def halve(module: nn.Module) -> None:
    """From now on the products of a module are computed in half precision; sums, norms and attention are not."""
    for part in module.modules():
        # Pairs of rows are multiplied at once: an odd one would have none.
        if isinstance(part, Product) and not part.exact and part.weight.shape[0] % 2 == 0:
            part.weight.data = part.weight.data.bfloat16()


def fused(layers: Sequence[nn.Module], scale: Float[Tensor, " D"] | None = None, *, exact: bool = False) -> Product:
    """One product whose outputs are those of several linear layers, one behind the other. scale: of their inputs;
    exact: see `Product`."""
    weights = [layer.get_parameter("weight").detach() for layer in layers]
    weight = torch.cat(weights) if len(weights) > 1 else weights[0]
    if scale is not None:
        weight = (weight.float() * scale.detach().float()).to(weight.dtype)
    biases = [bias.detach() for layer in layers if (bias := getattr(layer, "bias", None)) is not None]
    return Product(weight.t(), torch.cat(biases) if biases else None, exact=exact)


def with_products(module: ModuleT) -> ModuleT:
    """A copy whose linear layers are products."""
    copy = deepcopy(module)
    for part in list(copy.modules()):
        for name, layer in part.named_children():
            if isinstance(layer, nn.Linear):
                setattr(part, name, fused([layer]))
    return copy


def in_memory(x: Tensor) -> Tensor:
    """The same tensor, without gaps. Compiled code computes it here and once, not anew in each loop that reads it."""
    x = x.contiguous()
    return x.as_strided(x.shape, x.stride())
