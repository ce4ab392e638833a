"""The hardware of this machine, as results and `wla doctor` name it. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""Of the matrix products of compiled functions."""

_PEAK_TERAFLOPS = {
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA B200": 2250.0,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA GeForce RTX 5090": 209.5,
    "NVIDIA H100 80GB HBM3": 989.4,
    "NVIDIA H100 PCIe": 756.5,
    "NVIDIA H200": 989.4,
    "NVIDIA L40S": 362.1,
}
"""Name of a GPU, as its driver gives it -> the data sheet's bf16 rate without sparsity."""


def cpu_name() -> str:
    """Returns the processor's name, or its architecture where the system does not tell the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.processor() or platform.machine())


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> float:
    """Returns the size of the memory in GiB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def loaded_hardware() -> dict[str, str]:
    """Returns names of processor, cores and memory, and of what torch computes with where it is loaded: threads and
    GPUs."""
    found = {"cpu": cpu_name(), "cores": str(cores()), "memory": f"{memory_gib():.1f} GiB"}
    if "torch" in sys.modules:
        import torch

        gpus = map(torch.cuda.get_device_name, range(torch.cuda.device_count()))
        found |= {"threads": str(torch.get_num_threads()), "gpus": ", ".join(gpus) or "none"}
    return found


INSTRUCTIONS = re.compile(
    r"(avx|sse|ssse|fma|bmi|amx|f16c|adx|aes|vaes|pclmul|vpclmul|gfni|movbe|popcnt|abm|sha|sve|asimd)"
)


def instruction_sets() -> frozenset[str]:
    """Returns the processor's extensions that compilers use, by the system's names; none where it does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    names = (line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features")))
    return frozenset(name for name in next(names, []) if INSTRUCTIONS.match(name))


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies matrices in bfloat16 (Intel's AMX); others compute such products in float32."""
    return "amx_bf16" in instruction_sets()


def peak_bf16_flops(gpu: str) -> float | None:
    """Returns a GPU's dense bf16 operations per second, accumulated in fp32; None for an unknown GPU."""
    peak = _PEAK_TERAFLOPS.get(gpu)
    return None if peak is None else peak * 1e12
