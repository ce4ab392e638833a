"""Parameters that are not trained: `OptimConfig.freeze`, such as the vision encoder."""

from __future__ import annotations

import re

from torch import nn


def freeze(module: nn.Module, patterns: tuple[str, ...]) -> None:
    """Freezes the parameters whose name matches a pattern.

    LoRA adapters remain trainable, and a layer with an adapter is matched under its name without one. ValueError when a
    pattern matches no parameter, or when nothing is left to train.
    """
    named = {
        name.replace(".base_layer", ""): value for name, value in module.named_parameters() if ".lora_" not in name
    }
    for pattern in patterns:
        matching = [value for name, value in named.items() if re.search(pattern, name)]
        if not matching:
            raise ValueError(f"optim.freeze: {pattern!r} matches no parameter of the model; correct or remove it")
        for value in matching:
            value.requires_grad_(False)
    if not any(value.requires_grad for value in module.parameters()):
        raise ValueError(f"optim.freeze: {list(patterns)} leave nothing to train; remove a pattern")
