"""Low-rank adapters (LoRA) on the linear layers of a module, through peft (`pip install peft`).

The weights W of these layers are frozen and a low-rank update is trained: W + alpha / rank * B A. Checkpoints hold the
merged sum under the ordinary names, so inference needs no adapters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

from wla.training.configs import LoraConfig

_BASE, _A, _B = ".base_layer.", ".lora_A.default.weight", ".lora_B.default.weight"
_MAX_LISTED = 8
"""Maximum number of layers listed in an error message."""


def add_lora(module: nn.Module, config: LoraConfig) -> None:
    """Adds adapters, which have no effect yet, and freezes all other parameters not in `config.modules_to_save`.

    ValueError when a pattern matches no linear layer or no parameter, ModuleNotFoundError without peft.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("adapters need peft: pip install peft") from error
    linear = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    for pattern in config.target_modules:
        if not any(re.search(pattern, name) for name in linear):
            names = ", ".join(linear[:_MAX_LISTED])
            more = f" and {len(linear) - _MAX_LISTED} more" if len(linear) > _MAX_LISTED else ""
            raise ValueError(f"lora.target_modules: {pattern!r} matches no linear layer; there are {names}{more}")
    targets = [name for name in linear if any(re.search(pattern, name) for pattern in config.target_modules)]
    fully_trained = [
        value for name, value in module.named_parameters() if any(re.search(p, name) for p in config.modules_to_save)
    ]
    if config.modules_to_save and not fully_trained:
        raise ValueError(f"lora.modules_to_save: {list(config.modules_to_save)} match no parameter; correct them")
    module.requires_grad_(False)
    peft.inject_adapter_in_model(
        peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=targets),
        module,
    )
    for value in fully_trained:
        value.requires_grad_(True)


def merged(weights: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Returns the state dict of a module with adapters as that of one without; the input is not modified."""
    state = {}
    for name, value in weights.items():
        if _A in name or _B in name:
            continue
        layer, base, _ = name.partition(_BASE)
        if base and name.endswith("weight"):
            update = weights[layer + _B].float() @ weights[layer + _A].float()
            value = (value.float() + config.alpha / config.rank * update).to(value.dtype)
        state[name.replace(_BASE, ".")] = value
    return state
