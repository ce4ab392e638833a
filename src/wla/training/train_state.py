"""The state that continuing a run needs besides its recipe: weights, optimiser moments, their average and the step.

It goes through PyTorch's distributed checkpoints into safetensors, a file for each process, in one form for any number
of processes: as many as like can go on from it. (Their usual storage writes a pickle.)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import safetensors
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from wla import runtime
from wla.config import Config
from wla.files import atomic_dir
from wla.training.ema import EMA
from wla.weights import mismatch, shapes

STEP = "step.json"
OptimizerState = MutableMapping[Tensor, dict[str, Tensor]]
"""What an optimiser knows of each parameter, as in its attribute `state`."""


class Progress(Config):
    """What step.json holds. files: in how many the tensors lie."""

    step: int
    files: int


def save_training_state(
    folder: Path, module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None, step: int
) -> None:
    """Written whole or not at all. OSError in every process when one of them cannot write."""
    with _atomic_dir_all_ranks(folder) as fresh, _reraise_on_all_ranks():
        dcp.save(
            _tensors(module, optimizer_states, ema),
            storage_writer=dcp.HuggingFaceStorageWriter(str(fresh), save_distributed=True),
            no_dist=runtime.world_size() == 1,
        )
        runtime.on_rank_zero(lambda: Progress(step=step, files=len(_files(fresh))).save(fresh / STEP))


def load_training_state(
    folder: Path, module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None
) -> int:
    """Restore all of it; the number of steps already done. ValueError for the state of another model."""
    progress = Progress.load(folder / STEP)
    stored = _read_header(folder, progress.files)
    weights = {name.removeprefix("module."): size for name, size in stored.items() if name.startswith("module.")}
    wrong = mismatch(shapes(weights), shapes(_untied_state(module)))
    if wrong:
        raise ValueError(
            f"{folder}: is of another model than the recipe's: {wrong}; resume with the recipe that this run began with"
        )
    parameters = dict(module.named_parameters())
    for name, size in stored.items():
        if name.startswith("optimizer."):
            _, number, rest = name.split(".", 2)
            owner, key = rest.rsplit(".", 1)
            parameter = parameters[owner]
            # Spread like the parameter, but for the number of steps, which each process has.
            place = torch.zeros((), dtype=size.dtype, device=parameter.device) if key == "step" else None
            optimizer_states[int(number)].setdefault(parameter, {})[key] = (
                torch.zeros_like(parameter) if place is None else place
            )
    with _reraise_on_all_ranks():
        dcp.load(
            _tensors(module, optimizer_states, ema),
            storage_reader=dcp.HuggingFaceStorageReader(str(folder)),
            no_dist=runtime.world_size() == 1,
        )
    return progress.step


def _tensors(module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None) -> dict[str, Tensor]:
    """All of the state by name, none of it twice; filling these tensors restores it.

    Moments are named after their parameters. PyTorch's helper for that mixes settings, which are no tensors, with
    moments, and gives a moment to parameters that were never stepped.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    tensors = {f"module.{name}": value for name, value in _untied_state(module).items()}
    for number, optimizer in enumerate(optimizer_states):
        for parameter, values in optimizer.items():
            tensors |= {f"optimizer.{number}.{names[parameter]}.{key}": value for key, value in values.items()}
    if ema is not None:
        # The prefix is that of states written before: runs of any age resume.
        tensors |= {f"average.{name}": value for name, value in ema.values.items()}
    return tensors


def _untied_state(module: nn.Module) -> dict[str, Tensor]:
    """The module's state, a tied weight under the first of its names."""
    every = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    again = every - {name for name, _ in module.named_parameters()}
    return {name: value for name, value in module.state_dict().items() if name not in again}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _read_header(folder: Path, count: int) -> dict[str, Tensor]:
    """Shape and type of each stored tensor. ValueError when a file is damaged or missing."""
    paths = _files(folder)
    for path in paths:
        try:
            with safetensors.safe_open(path, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path}: damaged ({error}); copy it again, or start anew with another --out") from error
    if len(paths) != count:
        raise ValueError(f"{folder}: has {len(paths)} of its {count} files; copy the whole folder")
    stored = dcp.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata)
    }


@contextmanager
def _atomic_dir_all_ranks(folder: Path) -> Iterator[Path]:
    """`atomic_dir`, for processes that fill one fresh folder together."""
    swap = atomic_dir(folder)
    runtime.on_rank_zero(swap.__enter__)
    try:
        yield swap.temp_dir
    except BaseException as error:
        if runtime.rank() == 0:
            swap.__exit__(type(error))
        raise
    runtime.on_rank_zero(lambda: swap.__exit__(None))


@contextmanager
def _reraise_on_all_ranks() -> Iterator[None]:
    """What went wrong in one process is raised as it is, in all of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # one process alone is no mistake
        try:
            yield
        except dcp.CheckpointException as error:
            raise next(iter(error.failures.values()))[0] from error
