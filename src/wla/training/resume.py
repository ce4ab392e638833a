"""The state that continuing a run needs besides its recipe: weights, optimiser moments and the step, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from wla.files import replacing
from wla.weights import mismatch, read_tensors, save_weights, shapes

TENSORS, STEP = "state.safetensors", "step.json"


Optimizers = Sequence[torch.optim.Optimizer]


def save_training_state(folder: Path, module: nn.Module, optimizers: Optimizers, step: int) -> None:
    """Written whole or not at all."""
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{key}": value for key, value in values.items()}
    with replacing(folder) as fresh:
        # Tied weights share memory, which the file format does not take.
        save_weights({key: value.detach().clone() for key, value in tensors.items()}, fresh / TENSORS)
        (fresh / STEP).write_text(json.dumps({"step": step}), encoding="utf-8")


def load_training_state(folder: Path, module: nn.Module, optimizers: Optimizers) -> int:
    """Restore module and optimisers; the number of steps already done. ValueError for the state of another model."""
    if not (folder / TENSORS).is_file():
        raise ValueError(f"{folder}: nothing to resume here; start without --resume")
    tensors = read_tensors(folder / TENSORS)
    weights = {key[7:]: value for key, value in tensors.items() if key.startswith("module.")}
    wrong = mismatch(shapes(weights), shapes(module.state_dict()))
    if wrong:
        raise ValueError(
            f"{folder}: is of another model than the recipe's: {wrong}; resume with the recipe that this run began with"
        )
    module.load_state_dict(weights)
    states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in optimizers]
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, number, index, name = key.split(".")
            states[int(number)].setdefault(int(index), {})[name] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(json.loads((folder / STEP).read_text(encoding="utf-8"))["step"])
