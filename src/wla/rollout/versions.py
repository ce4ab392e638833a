"""Versions of the software behind a number: scores change with simulator and renderer."""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from importlib.metadata import version

from wla.envs.registry import family_versions

LIBRARIES = ("wla", "torch", "numpy", "transformers", "gymnasium")


def versions() -> dict[str, str]:
    """Versions of Python, of the libraries and simulators that this process has loaded, and of the OpenGL renderer."""
    prints = {"python": platform.python_version(), "platform": platform.platform()}
    prints |= {name: _version(name) for name in LIBRARIES if name in sys.modules}
    return prints | family_versions() | _renderer()


def join_versions(*parts: dict[str, str]) -> dict[str, str]:
    """The versions of an environment's and a policy's process together, in the order of a single process."""
    together: dict[str, str] = {}
    for part in parts:
        together |= part
    first = [name for name in ("python", "platform", *LIBRARIES) if name in together]
    return {name: together[name] for name in dict.fromkeys((*first, *together))}


@lru_cache
def _version(name: str) -> str:
    return version(name)


def _renderer() -> dict[str, str]:
    # Only an environment that renders loads PyOpenGL, and its context stays current in this thread.
    if "OpenGL" not in sys.modules:
        return {}
    from OpenGL import GL

    names = {"gl_vendor": GL.GL_VENDOR, "gl_renderer": GL.GL_RENDERER, "gl_version": GL.GL_VERSION}
    values = {key: GL.glGetString(name) for key, name in names.items()}
    return {key: value.decode() for key, value in values.items() if value}
