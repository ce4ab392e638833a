"""Which off-screen renderer is chosen, and when it is too late."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from wla import gl


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Linux process that has neither chosen a renderer nor imported mujoco."""
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        # Set first, so that what prepare_gl writes is undone too.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return monkeypatch


def only(*libraries: str) -> Callable[[str], object]:
    def load(name: str) -> object:
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return object()

    return load


def test_egl_is_preferred(fresh: pytest.MonkeyPatch) -> None:
    assert gl.prepare_gl(only("libEGL.so.1", "libOSMesa.so.8")) == "egl"
    assert os.environ["MUJOCO_GL"] == "egl"


def test_osmesa_is_chosen_without_egl_and_set_for_pyopengl(fresh: pytest.MonkeyPatch) -> None:
    assert gl.prepare_gl(only("libOSMesa.so.8")) == "osmesa"
    assert os.environ["PYOPENGL_PLATFORM"] == "osmesa"


def test_without_a_library_the_error_names_the_way_out(fresh: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="wla doctor --fix"):
        gl.prepare_gl(only())


def test_the_users_choice_is_respected(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("MUJOCO_GL", "osmesa")
    assert gl.prepare_gl(only("libOSMesa.so.8")) == "osmesa"
    assert os.environ["PYOPENGL_PLATFORM"] == "osmesa"


def test_it_is_an_error_to_come_after_mujoco(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="MUJOCO_GL=egl"):
        gl.prepare_gl(only("libEGL.so.1"))


def test_other_systems_keep_their_own_renderer(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(sys, "platform", "darwin")
    assert gl.prepare_gl(only()) == ""
    assert "MUJOCO_GL" not in os.environ


@pytest.mark.parametrize("name", ["osmesa", "egl", " EGL "])
def test_a_choice_whose_library_is_missing_is_named(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv("MUJOCO_GL", name)
    with pytest.raises(OSError, match=rf"MUJOCO_GL={name.strip().lower()} needs lib.*unset MUJOCO_GL .*wla doctor"):
        gl.prepare_gl(only())


@pytest.mark.parametrize("name", ["software", "off", "disable", "0", "egl,osmesa"])
def test_a_choice_that_does_not_render_is_named(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv("MUJOCO_GL", name)
    with pytest.raises(ValueError, match=rf"MUJOCO_GL={name} is not a renderer: unset it"):
        gl.prepare_gl(only("libEGL.so.1", "libOSMesa.so.8"))


def test_whatever_a_driver_raises_is_one_line_with_the_way_out() -> None:
    line = r"rendering does not work here .*\(AttributeError: two lines\); see `wla doctor`"
    with pytest.raises(OSError, match=line), gl.renderer_errors():
        raise AttributeError("two\nlines")


def test_a_window_needs_a_display(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("MUJOCO_GL", "glfw")
    fresh.delenv("DISPLAY", raising=False)
    fresh.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OSError, match="MUJOCO_GL=glfw needs a display"):
        gl.prepare_gl(only())
    fresh.setenv("DISPLAY", ":0")
    assert gl.prepare_gl(only()) == "glfw"
