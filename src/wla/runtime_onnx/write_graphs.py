"""The graphs of a model: the reference backbone, and the sampling that the fast path compiles."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wla.foreign import shown
from wla.models.inference.examples import Example
from wla.models.inference.sampling import StartSampling, time_biases
from wla.models.wla import WLA
from wla.progress import track
from wla.runtime_onnx.files import TIMES, graph
from wla.runtime_onnx.reading_graphs import NextTokens, ReadPrompt, ReadText, reading_examples
from wla.runtime_onnx.sampling_graphs import SampleStep, sampling_examples


@torch.no_grad()
def write_graphs(model: WLA, folder: Path) -> None:
    """Writes NAME.onnx of each function, and the table of times."""
    shapes = reading_examples(model) | sampling_examples(model)
    functions: dict[str, nn.Module] = {
        "read_prompt": ReadPrompt(model.backbone),
        "read_text": ReadText(model.backbone),
        "next_tokens": NextTokens(model.backbone),
        "start_sampling": StartSampling(model.action_expert),
        "sample_step": SampleStep(model.action_expert),
    }
    for name in track(list(functions), "exporting"):
        _write(functions[name].eval(), shapes[name], graph(folder, name))
    expert = model.action_expert
    # The last row is that of a single step, which other levels than time 0 never are.
    rows = torch.cat([expert.get_buffer("times"), expert.time_features(0.0, one_step=True)])
    np.save(folder / TIMES, time_biases(expert, rows).numpy())


def _write(module: nn.Module, example: Example, file: Path) -> None:
    """ValueError when torch fails."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch's, about packages that it could use
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own deprecated names
            program = torch.export.export(module, example.tensors, dynamic_shapes=example.free, strict=False)
            written = torch.onnx.export(program, dynamo=True, verbose=False)
            assert written is not None, "a program is given back"
            written.save(str(file))
    except RuntimeError as error:
        raise ValueError(f"{file.stem} could not be exported ({shown(str(error))})") from error
    finally:
        logging.disable(before)
