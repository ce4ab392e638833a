"""Weights as compiled products in half precision read them: in blocks of columns, with pairs of rows side by side.

The compiler packs the weights that it is given, and names them anew. Which is which, and how wide the blocks are, is
found by comparing: so its code takes the weights of any checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TypeVar

import torch
from jaxtyping import BFloat16
from torch import Tensor, nn

from wla.foreign import shown

Packing = dict[str, tuple[str, int]]
"""Name of packed weights in compiled code -> name of the weights, and width of a block."""
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def named_weights(module: nn.Module) -> dict[str, Tensor]:
    """Everything that compiled code reads of a module, by name."""
    return {name: tensor.detach() for name, tensor in (*module.named_parameters(), *module.named_buffers())}


def pack(weight: BFloat16[Tensor, "D E"], width: int) -> BFloat16[Tensor, "blocks D width"]:
    """Weights in blocks of `width` columns, the last one filled up with zeros. D is even."""
    columns = nn.functional.pad(weight, (0, -weight.shape[1] % width)).unflatten(1, (-1, width))
    pairs = columns.transpose(0, 1).unflatten(1, (-1, 2)).transpose(2, 3)
    return pairs.reshape(columns.shape[1], len(weight), width)


def packing_of(constants: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Packing:
    """How constants of compiled code that are none of the weights were made of them. ValueError where they were not."""
    found = {}
    for name, constant in constants.items():
        if name not in weights:
            found[name] = _source(name, constant, weights)
    return found


def constants_of(names: list[str], weights: Mapping[str, Tensor], packing: Mapping[str, object]) -> dict[str, Tensor]:
    """Tensors for the constants of compiled code. ValueError for a packing that is none of these weights."""
    found = {}
    for name in names:
        if name in weights:
            found[name] = weights[name]
            continue
        match packing.get(name):
            case (str(source), int(width)) if source in weights and width > 0 and weights[source].ndim == 2:
                found[name] = pack(weights[source], width)
            case other:
                raise ValueError(f"no weights for {shown(name)} ({shown(str(other))})")
    return found


def with_random_weights(module: ModuleT) -> ModuleT:
    """A copy in which no two weights are alike."""
    copy, generator = deepcopy(module), torch.Generator().manual_seed(0)
    for parameter in copy.parameters():
        parameter.data.normal_(generator=generator)
    return copy


def _source(name: str, constant: Tensor, weights: Mapping[str, Tensor]) -> tuple[str, int]:
    for source, weight in weights.items():
        if constant.ndim == 3 and weight.ndim == 2 and weight.dtype == constant.dtype == torch.bfloat16:
            _, rows, width = constant.shape
            if rows == len(weight) and torch.equal(pack(weight, width), constant):
                return source, width
    raise ValueError(f"the compiler made {name} {tuple(constant.shape)} of no weights that are known")
