"""Kernels of a compiled function in the order in which they run: the compiler's loops, and calls of libraries.

Command:  python benchmarks/kernel_count.py [FUNCTION] [POLICY]
FUNCTION: action_velocity (a flow step), read_prompt, read_image_96, ... The code is written, but not compiled.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path

import torch

import wla
from wla.models.inference.compiler import SETTINGS
from wla.models.inference.function_sets import acting_functions
from wla.models.inference.packing import with_random_weights

CALL = r"aoti_torch_cpu_(\w*(?:mm_out|linear_pointwise\w*|attention_for_cpu))\("
KERNEL = re.compile(rf"{CALL}|^\s+(cpp_fused\w*)\(", re.MULTILINE)


def kernels(policy: str, name: str) -> list[str]:
    """Names of the kernels of a function of a policy."""
    functions = acting_functions(wla.load_policy(policy).model)
    module, example = with_random_weights(functions.modules[name]), functions.examples[name]
    options = SETTINGS | {"aot_inductor.package": True, "aot_inductor.package_cpp_only": True}
    with torch.no_grad():
        program = torch.export.export(module, example.tensors, dynamic_shapes=example.free, strict=False)
        graph = program.module(check_guards=False)
        files = torch._inductor.aot_compile(graph, example.tensors, options=options)
    sources = [Path(file).read_text() for file in files if str(file).endswith(".wrapper.cpp")]
    written = "".join(source[source.index("run_impl") :] for source in sources)
    return [call or loop for call, loop in KERNEL.findall(written)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("function", nargs="?", default="action_velocity")
    parser.add_argument("policy", nargs="?", default="nano-memory")
    arguments = parser.parse_args()
    found = kernels(arguments.policy, arguments.function)
    print(*found, sep="\n")
    print(len(found), "kernels,", Counter("loops" if kernel.startswith("cpp_fused") else "calls" for kernel in found))


if __name__ == "__main__":
    main()
