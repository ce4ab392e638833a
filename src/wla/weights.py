"""Weights as safetensors, in one file or in shards with an index: read lazily, checked strictly."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import safetensors
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file
from torch import Tensor, nn

from wla.files import read_json
from wla.foreign import damaged, invisible, one_line
from wla.migrations import migrate_weight

WEIGHTS = "model.safetensors"
SCALE = ".int8_scale"
"""Ending of the name of a tensor with a factor for each row of another one, of 8-bit integers."""
SHARD_SIZE = 5 * 10**9
"""Bytes above which weights are written in several files, as on the Hugging Face Hub."""
COPY_WHOLE_FOLDER = "the files of one checkpoint belong together; copy the whole folder"
PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


class WeightFiles:
    """Context manager for the tensors of a safetensors file, or of its shards; each tensor is read when indexed.

    shapes: key -> shape of all tensors. Those that `Int8Tensors` wrote are read in float32.
    """

    def __init__(self, path: Path) -> None:
        """Opens the files. ValueError when one is missing, damaged, or not a safetensors file."""
        self.path = path
        self._stack = ExitStack()
        self._files: dict[str, Any] = {}
        for file in weight_files(path):
            opened = self._stack.enter_context(_open(file))
            self._files |= dict.fromkeys(opened.keys(), opened)
        self._quantized = {key.removesuffix(SCALE) for key in self._files if key.endswith(SCALE)} & self._files.keys()
        self.shapes = {
            key: tuple(file.get_slice(key).get_shape())
            for key, file in self._files.items()
            if key.removesuffix(SCALE) not in self._quantized or not key.endswith(SCALE)
        }

    def __enter__(self) -> WeightFiles:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.__exit__(None, None, None)

    def __getitem__(self, key: str) -> Tensor:
        if key in self._quantized:
            return self._stored(key).to(torch.float32) * self._stored(key + SCALE)
        return self._stored(key)

    def _stored(self, key: str) -> Tensor:
        try:
            return self._files[key].get_tensor(key)
        except (safetensors.SafetensorError, RuntimeError) as error:  # torch cannot open a file that was just removed
            raise ValueError(f"{self.path}: {key} is damaged ({one_line(error)}); copy or train it again") from error

    def dtype(self, key: str) -> str:
        """The dtype in the format's notation, e.g. 'BF16'."""
        if key in self._quantized:
            return "F32"
        return str(self._files[key].get_slice(key).get_dtype())


def weight_files(path: Path) -> list[Path]:
    """The file itself, or the shards that its index names. ValueError for pickled weights and a damaged index."""
    if path.suffix in PICKLE_SUFFIXES:
        raise ValueError(
            f"{path}: pickled weights can run code when they are read, so only safetensors are accepted; convert it if "
            "you trust the file: safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')"
        )
    index = path.with_name(path.name + ".index.json")
    if path.is_file() or not index.is_file():
        return [path]
    shards = read_json(index).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or any(not isinstance(name, str) or Path(name).name != name or invisible(name) for name in names):
        raise ValueError(f"{index}: damaged index (its map must name files beside it); copy it again")
    return [path.parent / name for name in sorted(set(names))]


def find_weights(folder: Path) -> Path:
    """The safetensors file of a folder, under one of the usual names (for `WeightFiles`).

    ValueError when there is none. For a folder with pickled weights it returns their path, which `WeightFiles` refuses
    with the way to convert them.
    """
    for name in (WEIGHTS, "diffusion_pytorch_model.safetensors"):
        if (folder / name).is_file() or (folder / f"{name}.index.json").is_file():
            return folder / name
    for path in pickled(folder):
        return path
    raise ValueError(f"{folder}: no {WEIGHTS} here; give the folder that holds the weights")


def pickled(folder: Path) -> list[Path]:
    """Files of a folder that look like pickled weights."""
    return [path for path in sorted(folder.iterdir()) if path.suffix in PICKLE_SUFFIXES] if folder.is_dir() else []


def exists(path: Path) -> bool:
    """True where there are weights under this name, in one file or in shards."""
    return path.is_file() or path.with_name(path.name + ".index.json").is_file()


def read_tensors(path: Path, *, skip: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Tensors by their current names, except those with a prefix in `skip`.

    ValueError when a file is missing or damaged.
    """
    with WeightFiles(path) as files:
        return {migrate_weight(key): files[key] for key in files.shapes if not key.startswith(skip or ("\0",))}


def load_weights(
    model: nn.Module, path: Path, *, dtype: torch.dtype = torch.float32, skip: tuple[str, ...] = ()
) -> None:
    """Loads weights strictly into a model: the keys and shapes of the file must equal those of the model.

    The model uses the file's tensors themselves where they have the dtype already, so that memory holds them once.

    Args:
        model: whose parameters and buffers are replaced.
        path: a safetensors file, or the name of a sharded one.
        dtype: dtype of the floating-point tensors in the model.
        skip: prefixes of keys in the file to ignore.

    Raises:
        ValueError: a file is missing or damaged, or does not fit the model.
    """
    require_fit(model, path, skip=skip)
    stored = read_tensors(path, skip=skip)
    cast = {key: value.to(dtype) if value.is_floating_point() else value for key, value in stored.items()}
    model.load_state_dict(cast, assign=True)


def require_fit(model: nn.Module, path: Path, *, skip: tuple[str, ...] = ()) -> None:
    """Compares the headers of a file with a model, which may be on the meta device: no tensor is read or allocated.

    ValueError for other keys or shapes than those of the model.
    """
    with WeightFiles(path) as files:
        stored = {migrate_weight(key): shape for key, shape in files.shapes.items() if not key.startswith(skip)}
    differences = mismatch(stored, shapes(model.state_dict()))
    if differences:
        raise ValueError(f"{path}: does not fit its config.json: {differences}; {COPY_WHOLE_FOLDER}")


Shapes = Mapping[str, tuple[int, ...]]


def shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Key -> shape."""
    return {key: tuple(value.shape) for key, value in state.items()}


def mismatch(stored: Shapes, expected: Shapes, *, max_items: int | None = 3) -> str:
    """Description of the first `max_items` keys and shapes that differ (None: of all); '' when there are none."""
    problems = [f"missing {key}" for key in expected if key not in stored]
    problems += [f"extra {key}" for key in stored if key not in expected]
    problems += [
        f"{key} has shape {stored[key]} instead of {expected[key]}"
        for key in expected
        if key in stored and stored[key] != expected[key]
    ]
    rest = len(problems) - len(problems[:max_items])
    return "; ".join(problems[:max_items]) + (f" and {rest} more" if rest else "")


def strip_prefix(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights whose names begin with `prefix`, under their names without it: the state dict of a submodule."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def save_weights(state: Mapping[str, Tensor], path: Path) -> None:
    """Writes one file, or shards and an index above `SHARD_SIZE`. OSError when the disk is full."""
    save_lazily(_LoadedTensors(state), path)


class _LoadedTensors:
    """Tensors in memory with the interface that `save_lazily` reads."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state

    def meta_tensors(self) -> dict[str, Tensor]:
        return {key: torch.empty_like(value, device="meta") for key, value in self._state.items()}

    def __getitem__(self, key: str) -> Tensor:
        return self._state[key]


class RenamedTensors:
    """Tensors of files under other names, read one shard at a time; `names`: new name -> stored name."""

    def __init__(self, files: WeightFiles, names: Mapping[str, str], extra: Mapping[str, Tensor]) -> None:
        self._files, self._names, self._extra = files, names, extra

    def meta_tensors(self) -> dict[str, Tensor]:
        stored = {
            new: torch.empty(self._files.shapes[old], dtype=DTYPES[self._files.dtype(old)], device="meta")
            for new, old in self._names.items()
        }
        return stored | {key: torch.empty_like(value, device="meta") for key, value in self._extra.items()}

    def __getitem__(self, key: str) -> Tensor:
        return self._extra[key] if key in self._extra else self._files[self._names[key]]


class HalfPrecisionTensors:
    """Tensors of files, read one shard at a time, with those in single or double precision cast to `dtype`.

    skip: prefixes of those that are left out.
    """

    def __init__(self, files: WeightFiles, skip: tuple[str, ...], dtype: torch.dtype = torch.float16) -> None:
        self._files, self._half = files, dtype
        self._shapes = {key: shape for key, shape in files.shapes.items() if not key.startswith(skip)}

    def meta_tensors(self) -> dict[str, Tensor]:
        kept = self._shapes.items()
        return {key: torch.empty(shape, dtype=self._dtype(key), device="meta") for key, shape in kept}

    def __getitem__(self, key: str) -> Tensor:
        return self._files[key].to(self._dtype(key))

    def _dtype(self, key: str) -> torch.dtype:
        stored = DTYPES[self._files.dtype(key)]
        # bfloat16 is half as long already, and float16 could not hold its range.
        return self._half if stored in (torch.float32, torch.float64) else stored


class Int8Tensors(HalfPrecisionTensors):
    """Tensors of files with matrices as 8-bit integers and a factor for each row, the others in float16."""

    def meta_tensors(self) -> dict[str, Tensor]:
        half = super().meta_tensors()
        matrices = {key: value for key, value in half.items() if value.is_floating_point() and value.dim() > 1}
        scales = {key + SCALE: torch.empty(_rows(value), device="meta") for key, value in matrices.items()}
        return half | {key: value.to(torch.int8) for key, value in matrices.items()} | scales

    def __getitem__(self, key: str) -> Tensor:
        value = self._files[key.removesuffix(SCALE)].to(torch.float32)
        if not key.endswith(SCALE) and (value.dim() < 2 or not value.is_floating_point()):
            return super().__getitem__(key)
        scale = value.abs().reshape(len(value), -1).amax(dim=1).reshape(_rows(value)) / 127
        if key.endswith(SCALE):
            return scale
        return (value / scale.clamp(min=torch.finfo(torch.float32).tiny)).round().to(torch.int8)


def _rows(matrix: Tensor) -> tuple[int, ...]:
    """Shape of a factor for each row."""
    return (len(matrix), *[1] * (matrix.dim() - 1))


DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def save_lazily(tensors: _LoadedTensors | RenamedTensors | HalfPrecisionTensors, path: Path) -> None:
    """Writes tensors shard by shard, with one shard in memory. OSError when the disk is full."""
    pattern = path.name.replace(".safetensors", "{suffix}.safetensors")
    plan = split_torch_state_dict_into_shards(
        tensors.meta_tensors(), filename_pattern=pattern, max_shard_size=SHARD_SIZE
    )
    for name, keys in plan.filename_to_tensors.items():
        try:
            shard = {key: tensors[key].contiguous() for key in keys}
            save_file(shard, path.parent / name, metadata={"format": "pt"})
            (path.parent / name).chmod(0o666 & ~_umask())  # the library makes them private to their owner
        except safetensors.SafetensorError as error:  # the library raises it for a full disk, too
            raise OSError(f"{path.parent / name}: {error}") from error
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        path.with_name(path.name + ".index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _umask() -> int:
    """The permission mask of new files; it can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _open(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: file is missing; copy or train it again")
    try:
        return safetensors.safe_open(path, framework="pt")
    except (safetensors.SafetensorError, OSError, RuntimeError) as error:
        raise damaged(path, "safetensors file", error, "copy or train it again") from error
