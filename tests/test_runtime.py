from __future__ import annotations

import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from wla import runtime


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
