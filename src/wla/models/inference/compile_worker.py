"""Functions compiled in processes of their own, several at a time: ``python -m wla.models.inference.compile_worker``
reads what to compile from its standard input, and writes a line for each function.

A process gets sizes alone and makes weights of its own, since compiled code holds none. It is no child of
`multiprocessing`, which would run the user's script again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from wla.foreign import shown
from wla.hardware import cores
from wla.models.backbones.nano import NanoBackbone
from wla.models.configs import ValueConfig, WLAConfig
from wla.models.inference.compiler import compile_function, require_compiler
from wla.models.inference.function_sets import FunctionSet, acting_functions, image_functions, value_functions
from wla.models.inference.packing import Packing
from wla.models.value_model import ValueModel
from wla.models.wla import WLA
from wla.progress import note, track

Line = dict[str, Any]
FEW_FUNCTIONS = 2
"""Functions that are not worth another process; only nano's models have more."""


def compile_functions(functions: FunctionSet, folder: Path) -> dict[str, Packing]:
    """Writes NAME.pt2 of each function into a folder, several at a time where there are cores, with a progress bar.
    ValueError when there is no compiler.

    Returns how the weights of each function in half precision are packed.
    """
    require_compiler()
    names, workers = list(functions.modules), workers_for(functions)
    note(f"fast: compiling {len(names)} functions in {functions.precision}, once for this processor and version")
    if workers > 1:
        found = compiled_in_processes(functions, folder, workers)
    else:
        found = ((name, compile_function(functions, name, folder)) for name in names)
    return dict(track(found, "compiling", total=len(names)))


def workers_for(functions: FunctionSet) -> int:
    """Number of processes that compile a set at a time. A few functions are compiled in this process, and so are those
    of large models: another one would have to make all of their weights, too."""
    return min(cores(), len(functions.modules)) if len(functions.modules) > FEW_FUNCTIONS else 1


def compiled_in_processes(functions: FunctionSet, folder: Path, workers: int) -> Iterator[tuple[str, Packing]]:
    """Writes NAME.pt2 of each function into a folder; yields names and packings as they are done. ValueError for a
    function that cannot be compiled."""
    names, found = list(functions.modules), SimpleQueue[Line]()
    for share in (names[first::workers] for first in range(workers)):
        threading.Thread(target=_run, args=(request(functions, folder, share), found), daemon=True).start()
    for _ in names:
        line = found.get()
        if "error" in line:
            raise ValueError(line["error"])
        yield line["name"], {packed: (source, width) for packed, (source, width) in line["packing"].items()}


def request(functions: FunctionSet, folder: Path, names: Sequence[str]) -> str:
    """What a process reads."""
    asked = {"kind": functions.kind, "config": functions.config, "dtype": str(functions.dtype).removeprefix("torch.")}
    return json.dumps(
        asked | {"precision": functions.precision, "folder": str(folder.absolute()), "names": list(names)}
    )


def functions_of(asked: Line) -> FunctionSet:
    """The set of functions of a request, with weights of its own."""
    kind, config, precision, dtype = (asked[key] for key in ("kind", "config", "precision", "dtype"))
    if kind == "value":
        value = ValueModel(ValueConfig.model_validate_json(config)).to(getattr(torch, dtype))
        assert isinstance(value.backbone, NanoBackbone), "no other has functions"
        return value_functions(value.config, value.backbone, precision)
    model = WLA(WLAConfig.model_validate_json(config), imagination=kind == "images").to(getattr(torch, dtype))
    found = (image_functions if kind == "images" else acting_functions)(model, precision)
    assert found is not None, "asked for by a process that has them"
    return found


def _run(asked: str, found: SimpleQueue[Line]) -> None:
    """Passes on the lines of a process, or one with its error."""
    command = [sys.executable, "-m", __name__]
    with tempfile.TemporaryFile("w+") as sent, tempfile.TemporaryFile("w+") as errors:
        sent.write(asked)
        sent.seek(0)
        with subprocess.Popen(command, stdin=sent, stdout=subprocess.PIPE, stderr=errors, text=True) as child:
            assert child.stdout is not None
            for line in child.stdout:
                found.put(json.loads(line))
        if child.returncode:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or [f"exit status {child.returncode}"])[-1]
            found.put({"error": f"a process that compiles ended ({shown(last)})"})


def main() -> None:
    """Compiles what standard input asks for."""
    asked = json.load(sys.stdin)
    functions = functions_of(asked)
    for name in asked["names"]:
        try:
            packing = compile_function(functions, name, Path(asked["folder"]))
        except ValueError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return
        print(json.dumps({"name": name, "packing": packing}), flush=True)


if __name__ == "__main__":
    main()
