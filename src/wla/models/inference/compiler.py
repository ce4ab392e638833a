"""Compilation of a model's functions by AOTInductor into files of code; the weights stay in the checkpoint.

Batch, prompt and text lengths are free in the compiled code, so no length is padded and nothing is compiled later.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from wla.foreign import shown
from wla.models.backbones.nano import NanoBackbone
from wla.models.inference.examples import Example, examples, read_image
from wla.models.inference.layout import laid_out
from wla.models.inference.reading import ReadImage, ReadPrompt, ReadText, TextLayers
from wla.models.inference.sampling import SampleStep, StartSampling
from wla.models.wla import WLA
from wla.progress import note, track

SETTINGS: dict[str, Any] = {
    "aot_inductor.package_constants_in_so": False,
    # The number of threads is that of the process that runs the code.
    "cpp.dynamic_threads": True,
    # Elements of a loop for another thread: below that, threads cost more than they save (as PyTorch's own loops).
    "cpp.min_chunk_size": 16384,
}


def functions_of(model: WLA) -> dict[str, nn.Module]:
    """The functions that acting consists of, with weights of their own layout; of the backbone only nano's."""
    functions: dict[str, nn.Module] = {}
    backbone, expert = model.backbone, model.action_expert
    if isinstance(backbone, NanoBackbone):
        text, image = TextLayers(backbone), ReadImage(backbone.stem)
        functions |= {read_image(side): image for side in model.config.interface.images.values()}
        functions |= {"read_prompt": ReadPrompt(text, backbone.image_token), "read_text": ReadText(text)}
    functions |= {"start_sampling": StartSampling(expert), "sample_step": SampleStep(expert)}
    return dict(laid_out(nn.ModuleDict(functions)).items())


def require_compiler() -> None:
    """ValueError where no C++ compiler is found."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ValueError("no C++ compiler here: install g++ or clang++, or set CXX") from error


def compile_functions(model: WLA, functions: Mapping[str, nn.Module], folder: Path) -> None:
    """Writes NAME.pt2 of each function into a folder, with a progress bar. ValueError when there is no compiler."""
    require_compiler()
    note(f"fast: compiling {len(functions)} functions, once for this processor and version")
    shapes = examples(model)
    for name in track(list(functions), "compiling"):
        _compile(functions[name], shapes[name], folder / f"{name}.pt2")


@torch.no_grad()
def _compile(module: nn.Module, example: Example, file: Path) -> None:
    """ValueError when torch or the compiler fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own deprecated names
        try:
            program = torch.export.export(module, example.tensors, dynamic_shapes=example.free, strict=False)
            torch._inductor.aoti_compile_and_package(program, package_path=str(file), inductor_configs=dict(SETTINGS))
        except RuntimeError as error:
            raise ValueError(f"{file.stem} could not be compiled ({shown(str(error))})") from error
