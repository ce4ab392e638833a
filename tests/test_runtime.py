from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from wla import runtime


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
    assert runtime.prepare_gl(only("libEGL.so.1", "libOSMesa.so.8")) == "egl"
    assert runtime.os.environ["MUJOCO_GL"] == "egl"


def test_osmesa_is_chosen_without_egl_and_set_for_pyopengl(fresh: pytest.MonkeyPatch) -> None:
    assert runtime.prepare_gl(only("libOSMesa.so.8")) == "osmesa"
    assert runtime.os.environ["PYOPENGL_PLATFORM"] == "osmesa"


def test_without_a_library_the_error_names_the_command_that_installs_one(fresh: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="wla doctor --fix"):
        runtime.prepare_gl(only())


def test_the_users_choice_is_respected(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv("MUJOCO_GL", "osmesa")
    assert runtime.prepare_gl(only("libEGL.so.1")) == "osmesa"
    assert runtime.os.environ["PYOPENGL_PLATFORM"] == "osmesa"


def test_choosing_a_renderer_after_importing_mujoco_is_an_error(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "mujoco", sys)
    with pytest.raises(RuntimeError, match="MUJOCO_GL=egl"):
        runtime.prepare_gl(only("libEGL.so.1"))


def test_other_systems_keep_their_own_renderer(fresh: pytest.MonkeyPatch) -> None:
    fresh.setattr(sys, "platform", "darwin")
    assert runtime.prepare_gl(only()) == ""
    assert "MUJOCO_GL" not in runtime.os.environ


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_the_same_seed_gives_the_same_numbers_everywhere() -> None:
    runtime.seed_everything(7)
    first = draws()
    runtime.seed_everything(7)
    assert draws() == first
    runtime.seed_everything(8)
    assert not set(draws()) & set(first)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_outside_the_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=str(seed)):
        runtime.seed_everything(seed)


def test_devices_are_found_or_refused_by_name() -> None:
    assert runtime.device("cpu") == torch.device("cpu")
    assert runtime.device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("quantum", "cuda:99"):
        with pytest.raises(ValueError, match=name):
            runtime.device(name)


def test_autocast_never_uses_half_precision() -> None:
    assert runtime.autocast_dtype(torch.device("cpu")) in (torch.bfloat16, torch.float32)
    assert runtime.autocast_dtype(torch.device("meta")) == torch.float32


def test_ctrl_c_is_deferred_until_the_block_ends() -> None:
    done = []
    with runtime.defer_signals() as interrupted:
        assert not interrupted()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        done.append("saved")
        assert interrupted()
    assert done == ["saved"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_importing_the_package_does_not_import_torch() -> None:
    subprocess.run([sys.executable, "-c", "import sys, wla; assert 'torch' not in sys.modules"], check=True)


def test_sigterm_is_deferred_too_and_both_handlers_are_restored() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with runtime.defer_signals() as interrupted:
        os.kill(os.getpid(), signal.SIGTERM)
        assert interrupted()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_torchrun_the_group_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with runtime.process_group():
        assert (runtime.world_size(), runtime.rank()) == (1, 0)
        assert [runtime.all_reduce_any(flag) for flag in (False, True)] == [False, True]
        assert runtime.all_reduce_mean([1.0, 2.0]) == [1.0, 2.0]
        assert runtime.rank_zero_first(lambda: "built") == "built"
        with pytest.raises(ValueError, match="no room"):
            runtime.on_rank_zero(lambda: int("no room"))


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's settings")
def test_freed_memory_stays_in_the_process_for_the_next_step() -> None:
    """Runs in separate processes, because the setting lasts as long as one."""

    def resident(first: str) -> int:
        """Resident megabytes after 300 were filled and freed again."""
        program = (
            "import numpy as np; from wla import runtime; "
            f"{first}; x = np.ones(300 * 2**17); del x; "
            "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')))"
        )
        found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        return int(found.stdout) // 1024

    assert resident("runtime.tune_malloc()") > resident("pass") + 200
