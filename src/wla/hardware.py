"""The hardware of this machine, as results and `wla doctor` name it. Imports no torch."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Precision = Literal["float32", "bfloat16"]
"""Of the matrix products of compiled functions."""

CPU_FILE = Path("/proc/cpuinfo")
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
    return next(_cpu_entries("model name"), platform.processor() or platform.machine())


def cpu_vendor() -> str:
    """Returns the maker of the processor, by the system's name for it; '' where it does not tell."""
    return next(_cpu_entries("vendor_id"), "")


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
    names = next(_cpu_entries("flags", "Features"), "").split()
    return frozenset(name for name in names if INSTRUCTIONS.match(name))


def multiplies_bfloat16() -> bool:
    """Whether the processor multiplies in bfloat16; others compute such products in float32."""
    return has_amx() or "avx512_bf16" in instruction_sets()


def has_amx() -> bool:
    """Whether the processor has a unit for matrices in bfloat16 (Intel's AMX)."""
    return "amx_bf16" in instruction_sets()


def peak_bf16_flops(gpu: str) -> float | None:
    """Returns a GPU's dense bf16 operations per second, accumulated in fp32; None for an unknown GPU."""
    peak = _PEAK_TERAFLOPS.get(gpu)
    return None if peak is None else peak * 1e12


def _cpu_entries(*keys: str) -> Iterator[str]:
    """Values of the entries that begin with one of these keys; none where the system does not list any."""
    try:
        lines = CPU_FILE.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    yield from filter(None, (line.partition(":")[2].strip() for line in lines if line.startswith(keys)))
