"""MuJoCo's off-screen renderer, chosen without an environment variable. Imports no torch: simulators run without it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

# In order of preference: EGL also finds a GPU. OSMesa renders on the CPU, equally fast for small images without one.
GL_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def prepare_gl(load: Callable[[str], object] = ctypes.CDLL) -> str:
    """Choose MuJoCo's off-screen renderer, so that users need no environment variable.

    MuJoCo reads ``MUJOCO_GL`` when it is imported: call this before the first ``import mujoco`` of the process. A
    ``MUJOCO_GL`` that is already set is respected. Otherwise EGL is taken when its library loads, or else OSMesa; both
    render without a display. Systems other than Linux bring their own renderer and are left alone.

    Returns the value of ``MUJOCO_GL`` now in force ("" = MuJoCo's own choice). ``load`` opens a shared library by name
    and raises OSError when it cannot.

    Raises OSError when neither library loads, RuntimeError when mujoco was imported before the choice.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen and sys.platform == "linux":
        if "mujoco" in sys.modules:
            raise RuntimeError(
                "mujoco was imported before wla could choose its renderer: import wla.envs first, or set MUJOCO_GL=egl"
            )
        chosen = _select_gl_backend(load)
        os.environ["MUJOCO_GL"] = chosen
    if chosen == "osmesa":
        # PyOpenGL picks its own platform, and MuJoCo refuses to start when the two differ.
        os.environ.setdefault("PYOPENGL_PLATFORM", "osmesa")
    return chosen


def _select_gl_backend(load: Callable[[str], object]) -> str:
    for backend, library in GL_LIBRARIES.items():
        try:
            load(library)
        except OSError:
            continue
        return backend
    raise OSError(
        f"MuJoCo needs {' or '.join(GL_LIBRARIES.values())} to render and neither loads: run `wla doctor --fix`"
    )
