"""What a process decides once: the renderer, the seed, the device, the precision, and when Ctrl-C may stop it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

# In order of preference: EGL also finds a GPU. OSMesa renders on the CPU, equally fast for small images without one.
GL_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def prepare_gl(load: Callable[[str], object] = ctypes.CDLL) -> str:
    """Choose MuJoCo's off-screen renderer, so that users need no environment variable.

    MuJoCo reads ``MUJOCO_GL`` when it is imported: call this before the first ``import mujoco`` of the process. A
    ``MUJOCO_GL`` that is already set is respected. Otherwise EGL is taken when its library loads, or else OSMesa; both
    render without a display. Systems other than Linux bring their own renderer and are left alone.

    Returns the value of ``MUJOCO_GL`` now in force ("" = MuJoCo's own choice). ``load`` opens a shared library by name
    and raises OSError when it cannot.

    Raises OSError when neither library loads, RuntimeError when mujoco was imported too early to be told.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen and sys.platform == "linux":
        if "mujoco" in sys.modules:
            raise RuntimeError(
                "mujoco was imported before wla could choose its renderer: import wla.envs first, or set MUJOCO_GL=egl"
            )
        chosen = _first_that_loads(load)
        os.environ["MUJOCO_GL"] = chosen
    if chosen == "osmesa":
        # PyOpenGL picks its own platform, and MuJoCo refuses to start when the two differ.
        os.environ.setdefault("PYOPENGL_PLATFORM", "osmesa")
    return chosen


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's global generators (all devices). ValueError outside 0 .. 2**32 - 1."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed {seed} is outside 0 .. {2**32 - 1}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def device(name: str | None = None) -> torch.device:
    """The device called ``name`` ("cpu", "cuda", "cuda:1"); without a name a GPU when there is one, or else the CPU.

    Raises ValueError when there is no such device on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
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


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Ctrl-C, however often, does not break into the block; the function that is yielded says whether one came.

    Only the main thread can be interrupted, so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, previous)


def _first_that_loads(load: Callable[[str], object]) -> str:
    for backend, library in GL_LIBRARIES.items():
        try:
            load(library)
        except OSError:
            continue
        return backend
    raise OSError(
        f"MuJoCo needs {' or '.join(GL_LIBRARIES.values())} to render and neither loads: run `wla doctor --fix`"
    )
