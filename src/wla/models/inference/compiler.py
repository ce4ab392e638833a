"""Compilation of a model's functions by AOTInductor into files of code; the weights stay in the checkpoint.

Batch, prompt and text lengths are free in the compiled code, so no length is padded and nothing is compiled later.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from wla.foreign import shown
from wla.models.inference.examples import Example
from wla.models.inference.function_sets import FunctionSet
from wla.models.inference.layout import written_out
from wla.models.inference.packing import Packing, named_weights, packing_of, with_random_weights
from wla.types import Precision

SETTINGS: dict[str, Any] = {
    "aot_inductor.package_constants_in_so": False,
    # Of eight numbers or fewer, too: they would be part of the code, which is for any weights.
    "always_keep_tensor_constants": True,
    # The number of threads is that of the process that runs the code.
    "cpp.dynamic_threads": True,
    # Elements of a loop for another thread: below that, threads cost more than they save (as PyTorch's own loops).
    "cpp.min_chunk_size": 16384,
}
HALF_SETTINGS: dict[str, Any] = {
    "max_autotune_gemm": True,
    "max_autotune_gemm_backends": "CPP,ATEN",
    # PyTorch 2.13 cannot write products with what follows them in one loop where the number of rows is free.
    "epilogue_fusion": False,
    "aot_inductor.package_constants_on_disk_format": "pickle_weights",
}
"""For functions in half precision where there is AMX. Products are code of their own there: calling a library for one
takes longer than such a product does."""


def require_compiler() -> None:
    """ValueError where no C++ compiler is found."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError("no C++ compiler here: install g++ or clang++, or set CXX") from error


def compile_function(functions: FunctionSet, name: str, folder: Path) -> Packing:
    """Writes NAME.pt2 of one function into a folder; returns how its weights in half precision are packed. ValueError
    where it cannot be compiled."""
    try:
        return _compile(functions.modules[name], functions.examples[name], folder / f"{name}.pt2", functions.precision)
    except RuntimeError as error:
        raise ValueError(f"{name} could not be compiled ({shown(str(error))})") from error


@torch.no_grad()
def _compile(module: nn.Module, example: Example, file: Path, precision: Precision) -> Packing:
    """RuntimeError when torch or the compiler fail."""
    from torch._inductor.package import package_aoti
    from torch.export.pt2_archive._package_weights import Weights

    settings, module = SETTINGS | {"aot_inductor.package": True}, with_random_weights(module)
    chosen: AbstractContextManager[None] = nullcontext()
    if written_out(precision):
        settings, chosen = settings | HALF_SETTINGS, _products_as_code()
    with warnings.catch_warnings(), chosen:
        warnings.simplefilter("ignore")  # torch's own, about its own deprecated names
        program = torch.export.export(module, example.tensors, dynamic_shapes=example.free, strict=False)
        graph = cast(torch.fx.GraphModule, program.module(check_guards=False))
        files = cast(list[Any], torch._inductor.aot_compile(graph, example.tensors, options=settings))
    package_aoti(str(file), [part for part in files if isinstance(part, str)])
    constants = {name: tensor for part in files if isinstance(part, Weights) for name, (tensor, _) in part.items()}
    return packing_of(constants, named_weights(module))


@contextmanager
def _products_as_code() -> Iterator[None]:
    """Within, each product in half precision is written out; the library, the first choice, computes the others.
    Nothing is timed to decide it."""
    from torch._inductor import select_algorithm

    select_algorithm.add_preprocessing_fn(lambda found: [one for one in found if "AMX" in one.name] or found[:1])
    try:
        yield
    finally:
        select_algorithm.clear_preprocessing_fns()
