"""What a process decides once: seed, device, precision, its fellow processes, and when Ctrl-C may stop it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist

PROCESS_GROUP_TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other: the first one may have to decode a whole dataset before they train."""
_SHUTDOWN_DELAY = 0.5
"""Seconds before the interpreter may shut down: gloo's threads free tensors a moment after a call has returned, and
abort the process when Python is gone by then. They cannot be joined, DTensor's caches keep their group."""
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's mallopt settings (malloc.h)."""
Result = TypeVar("Result")


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (all devices). ValueError outside 0 .. 2**32 - 1."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside 0 .. {2**32 - 1}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def device(name: str | None = None) -> torch.device:
    """The device called ``name`` ("cpu", "cuda", "cuda:1"); without a name a GPU when there is one, or else the CPU.

    Among several processes "cuda" is the GPU with the number that torchrun gave to this one.

    Raises ValueError when there is no such device on this machine.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and world_size() > 1:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        found = torch.device(name)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # AssertionError is what a torch built without CUDA raises.
        raise ValueError(f"device {name!r} is not usable here: use 'cpu', or 'cuda' where torch finds a GPU") from error
    return found


def autocast_dtype(device: torch.device) -> torch.dtype:
    """The precision to compute in on ``device``: bfloat16 where the hardware has it, or else float32.

    Never float16: it needs loss scaling, and on a CPU it is hundreds of times slower than float32. Use as
    ``torch.autocast(device.type, dtype, enabled=dtype != torch.float32)``.
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def tune_malloc() -> None:
    """Let the C library keep what is freed, for a process that soon needs as much again: a training step on a CPU.

    It gives large tensors back to the system, and gets pages anew, each to be cleared first, at every step: a third of
    the time. Only glibc has these settings; elsewhere nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, -1)


@contextmanager
def process_group() -> Iterator[None]:
    """Inside the block the processes that torchrun started can talk: through gloo, and between GPUs through nccl.

    A process that torchrun did not start, or started alone, has nobody to talk to, and nothing happens.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PROCESS_GROUP_TIMEOUT
    )
    try:
        yield
        dist.barrier()  # nobody leaves while another still talks
    finally:
        dist.destroy_process_group()
        time.sleep(_SHUTDOWN_DELAY)


def world_size() -> int:
    """How many processes work together; 1 outside of `process_group`."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def all_reduce_any(flag: bool) -> bool:
    """Whether the flag is set in any of the processes; all of them must ask."""
    if world_size() == 1:
        return flag
    told = torch.tensor(int(flag))
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return bool(told)


def all_reduce_mean(values: list[float]) -> list[float]:
    """The mean of each value; all processes must ask, with as many values."""
    if world_size() == 1:
        return values
    told = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(told)
    return (told / world_size()).tolist()


def on_rank_zero(work: Callable[[], object]) -> None:
    """The first process does the work while the others wait; its error stops all of them, theirs with one line."""
    _run_on_selected(work, rank() == 0)


def rank_zero_first(work: Callable[[], Result]) -> Result:
    """The first process does the work before the others do, so that these find what it stored on the way."""
    found = _run_on_selected(work, rank() == 0)
    others = _run_on_selected(work, rank() != 0)
    return found[0] if found else others[0]


def _run_on_selected(work: Callable[[], Result], selected: bool) -> list[Result]:
    """What the work found, if it is for this process to do. ValueError when it failed in another one."""
    failure: Exception | None = None
    found: list[Result] = []
    try:
        if selected:
            found.append(work())
    except (OSError, ValueError) as error:
        failure = error
    if all_reduce_any(failure is not None):
        raise failure or ValueError("another process cannot go on, see its message")
    return found


@contextmanager
def defer_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM, however often, do not break into the block; what is yielded says whether one came.

    SIGTERM is what torchrun and cluster schedulers send. Only the main thread can be interrupted, so elsewhere there is
    nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    held = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, lambda number, _: came.append(number)) for number in held]
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in zip(held, previous, strict=True):
            signal.signal(number, handler)
