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
    assert gl.prepare_gl(only("libEGL.so.1")) == "osmesa"
    assert os.environ["PYOPENGL_PLATFORM"] == "osmesa"


def test_it_is_an_error_to_come_after_mujoco(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="MUJOCO_GL=egl"):
        gl.prepare_gl(only("libEGL.so.1"))


def test_other_systems_keep_their_own_renderer(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(sys, "platform", "darwin")
    assert gl.prepare_gl(only()) == ""
    assert "MUJOCO_GL" not in os.environ
