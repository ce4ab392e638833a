"""MuJoCo's off-screen renderer, chosen without an environment variable. Imports no torch: simulators run without it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OTHER_BACKENDS = ("glfw", "glx", "enable", "on", "true", "1")
"""Further values of ``MUJOCO_GL`` that render, where there is a display."""
# In order of preference: EGL also finds a GPU. OSMesa renders on the CPU, equally fast for small images without one.
GL_LIBRARIES = {"egl": "libEGL.so.1", "osmesa": "libOSMesa.so.8"}


def prepare_gl(load: Callable[[str], object] = ctypes.CDLL) -> str:
    """Choose MuJoCo's off-screen renderer, so that users need no environment variable.

    MuJoCo reads ``MUJOCO_GL`` when it is imported: call this before the first ``import mujoco`` of the process. A
    ``MUJOCO_GL`` that is already set is respected, if it can work. Otherwise EGL is taken when its library loads, or
    else OSMesa; both render without a display. Systems other than Linux bring their own renderer and are left alone.

    Returns the value of ``MUJOCO_GL`` now in force ("" = MuJoCo's own choice). ``load`` opens a shared library by name
    and raises OSError when it cannot.

    Raises OSError when neither library loads, or ``MUJOCO_GL`` lacks its library or a display, ValueError for a
    ``MUJOCO_GL`` that does not render, RuntimeError when mujoco was imported before the choice.
    """
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if not chosen and sys.platform == "linux":
        if "mujoco" in sys.modules:
            raise RuntimeError(
                "mujoco was imported before wla could choose its renderer: import wla.envs first, or set MUJOCO_GL=egl"
            )
        chosen = _select_gl_backend(load)
        os.environ["MUJOCO_GL"] = chosen
    elif sys.platform == "linux":
        _require_usable(chosen, load)
    if chosen == "osmesa":
        # PyOpenGL picks its own platform, and MuJoCo refuses to start when the two differ.
        os.environ.setdefault("PYOPENGL_PLATFORM", "osmesa")
    return chosen


@contextmanager
def renderer_errors() -> Iterator[None]:
    """Turns whatever MuJoCo and PyOpenGL raise while they begin to render into an OSError with the way out."""
    try:
        yield
    except Exception as error:  # drivers and their bindings raise anything
        chosen = os.environ.get("MUJOCO_GL", "") or "MuJoCo's own choice"
        line = " ".join(str(error).split())
        raise OSError(
            f"rendering does not work here with {chosen} ({type(error).__name__}: {line}); see `wla doctor`"
        ) from error


def _require_usable(chosen: str, load: Callable[[str], object]) -> None:
    if chosen not in (*GL_LIBRARIES, *OTHER_BACKENDS):
        raise ValueError(
            f"MUJOCO_GL={chosen} is not a renderer: unset it, or set {' or '.join(GL_LIBRARIES)} (see `wla doctor`)"
        )
    if chosen in OTHER_BACKENDS and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OSError(f"MUJOCO_GL={chosen} needs a display, and there is none: unset it (see `wla doctor`)")
    if chosen in GL_LIBRARIES:
        try:
            load(GL_LIBRARIES[chosen])
        except OSError as error:
            raise OSError(
                f"MUJOCO_GL={chosen} needs {GL_LIBRARIES[chosen]}, which does not load ({error}): unset MUJOCO_GL or "
                "install that library (see `wla doctor`)"
            ) from error


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
