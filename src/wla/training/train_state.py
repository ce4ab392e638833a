"""The training state: weights, optimiser state, EMA and step, all that resuming needs apart from the recipe.

PyTorch's distributed checkpoints store it as safetensors, one file per process, in a form that does not depend on the
number of processes: a run can resume with any number. (Their default storage writes a pickle.)
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
from wla.config import Record
from wla.files import sync_tree
from wla.training.ema import EMA
from wla.weights import mismatch, shapes

STEP = "step.json"
OptimizerState = MutableMapping[Tensor, dict[str, Tensor]]
"""An optimiser's state tensors of each parameter, as in its attribute `state`."""


class Progress(Record):
    """Content of step.json. step: steps done. files: number of files with tensors."""

    step: int
    files: int


def save_training_state(
    folder: Path, module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None, step: int
) -> None:
    """Saves the training state into the new folder `folder` and flushes it to disk. All processes must call it.

    step: steps done. OSError in every process when one of them cannot write.
    """
    runtime.on_rank_zero(folder.mkdir)
    with _reraise_on_all_ranks():
        dcp.save(
            _tensors(module, optimizer_states, ema),
            storage_writer=dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True),
            no_dist=runtime.world_size() == 1,
        )
    runtime.on_every_rank(lambda: sync_tree(folder))  # on a shared disk only its writer can flush a file
    runtime.on_rank_zero(lambda: Progress(step=step, files=len(_files(folder))).save(folder / STEP))


def load_training_state(
    folder: Path, module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None
) -> int:
    """Restores the training state and returns the number of steps done. All processes must call it.

    ValueError for a damaged state, or one of a different model.
    """
    progress = Progress.load(folder / STEP)
    stored = _read_header(folder, progress.files)
    weights = {name.removeprefix("module."): value for name, value in stored.items() if name.startswith("module.")}
    difference = mismatch(shapes(weights), shapes(_untied_state(module)))
    if difference:
        raise ValueError(
            f"{folder}: belongs to a different model than the recipe's: {difference}; "
            "resume with the recipe that this run was started with"
        )
    parameters = dict(module.named_parameters())
    for name, value in stored.items():
        if name.startswith("optimizer."):
            _, number, rest = name.split(".", 2)
            parameter_name, key = rest.rsplit(".", 1)
            parameter = parameters[parameter_name]
            # Sharded like the parameter, except for the step count, which each process has.
            optimizer_states[int(number)].setdefault(parameter, {})[key] = (
                torch.zeros((), dtype=value.dtype, device=parameter.device)
                if key == "step"
                else torch.zeros_like(parameter)
            )
    with _reraise_on_all_ranks():
        dcp.load(
            _tensors(module, optimizer_states, ema),
            storage_reader=dcp.HuggingFaceStorageReader(str(folder)),
            no_dist=runtime.world_size() == 1,
        )
    return progress.step


def _tensors(module: nn.Module, optimizer_states: Sequence[OptimizerState], ema: EMA | None) -> dict[str, Tensor]:
    """Returns each tensor of the state once, by name; filling these tensors in place restores the state.

    Optimiser states are named after their parameters. PyTorch's helper for that mixes them with settings, which are not
    tensors, and creates states for parameters that were never stepped.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    tensors = {f"module.{name}": value for name, value in _untied_state(module).items()}
    for number, optimizer_state in enumerate(optimizer_states):
        for parameter, values in optimizer_state.items():
            tensors |= {f"optimizer.{number}.{names[parameter]}.{key}": value for key, value in values.items()}
    if ema is not None:
        # The prefix of states written by earlier versions, so that runs of any age resume.
        tensors |= {f"average.{name}": value for name, value in ema.values.items()}
    return tensors


def _untied_state(module: nn.Module) -> dict[str, Tensor]:
    """Returns the module's state dict with each tied weight under the first of its names only."""
    all_names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    duplicates = all_names - {name for name, _ in module.named_parameters()}
    return {name: value for name, value in module.state_dict().items() if name not in duplicates}


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _read_header(folder: Path, count: int) -> dict[str, Tensor]:
    """Returns a meta tensor with shape and dtype for each stored one. ValueError when a file is damaged or missing."""
    paths = _files(folder)
    for path in paths:
        try:
            with safetensors.safe_open(path, framework="pt"):
                pass
        except safetensors.SafetensorError as error:
            raise ValueError(f"{path}: damaged ({error}); copy it again, or start over with another --out") from error
    if len(paths) != count:
        raise ValueError(f"{folder}: has {len(paths)} of its {count} files; copy the whole folder")
    stored = dcp.HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {
        name: torch.empty(entry.size, dtype=entry.properties.dtype, device="meta")
        for name, entry in stored.items()
        if isinstance(entry, TensorStorageMetadata)
    }


@contextmanager
def _reraise_on_all_ranks() -> Iterator[None]:
    """Raises the original error of one process in all of them, instead of a CheckpointException."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # expected in a single process
        try:
            yield
        except dcp.CheckpointException as error:
            raise next(iter(error.failures.values()))[0] from error
