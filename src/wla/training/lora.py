"""Low-rank adapters on the linear layers of a module, through peft (`pip install 'wla[lora]'`).

The layers themselves stay as they are, and a small update of each is learned: W + alpha / rank * B A. What is shipped
is that sum, under the ordinary names, so that acting knows nothing of adapters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn

from wla.config import Config

_BASE, _A, _B = ".base_layer.", ".lora_A.default.weight", ".lora_B.default.weight"
_SHOWN = 8


class LoraConfig(Config):
    """Hu et al. 2021, section 4.1."""

    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of what an adapter reads."""
    target_modules: tuple[str, ...]
    """Regular expressions; linear layers whose name one of them matches get an adapter."""
    modules_to_save: tuple[str, ...] = ("embed_tokens",)
    """Regular expressions of parameters that are trained themselves: meta-queries are words, and new ones must be
    learned."""


def add_lora(module: nn.Module, config: LoraConfig) -> None:
    """Give the module adapters, which do nothing yet, and train nothing else of it but what `config.modules_to_save` names.

    ValueError when a pattern matches no linear layer or no parameter, ModuleNotFoundError without peft.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("adapters need peft: pip install 'wla[lora]'") from error
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    for pattern in config.target_modules:
        if not any(re.search(pattern, name) for name in linear):
            more = f" and {len(linear) - _SHOWN} more" if len(linear) > _SHOWN else ""
            raise ValueError(
                f"lora.target_modules: {pattern!r} matches no linear layer; there are {', '.join(linear[:_SHOWN])}{more}"
            )
    chosen = [name for name in linear if any(re.search(pattern, name) for pattern in config.target_modules)]
    kept = [
        value for name, value in module.named_parameters() if any(re.search(p, name) for p in config.modules_to_save)
    ]
    if config.modules_to_save and not kept:
        raise ValueError(f"lora.whole: {list(config.modules_to_save)} match no parameter; correct them")
    module.requires_grad_(False)
    peft.inject_adapter_in_model(
        peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=chosen),
        module,
    )
    for value in kept:
        value.requires_grad_(True)


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """The state of a module with adapters as that of one without; what is passed in stays as it is."""
    found = {}
    for name, value in weights.items():
        if _A in name or _B in name:
            continue
        owner, base, _ = name.partition(_BASE)
        if base and name.endswith("weight"):
            update = weights[owner + _B].float() @ weights[owner + _A].float()
            value = (value.float() + config.alpha / config.rank * update).to(value.dtype)
        found[name.replace(_BASE, ".")] = value
    return found
