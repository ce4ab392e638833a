from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
import torch

from wla.training import prefetch as prefetch_module
from wla.training.prefetch import prefetch

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def numbers(generator: torch.Generator) -> list[int]:
    time.sleep(0.002 * float(torch.rand((), generator=torch.Generator().manual_seed(generator.initial_seed()))))
    return torch.randint(1000, (3,), generator=generator).tolist()


@pytest.mark.parametrize("device", [CPU, GPU])
def test_what_is_drawn_follows_from_the_seed_and_keeps_its_order(device):
    found = list(prefetch(numbers, range(20), device))
    assert [seed for seed, *_ in found] == list(range(20))
    for seed, generator, drawn in found:
        again = torch.Generator().manual_seed(seed)
        assert drawn == numbers(again)
        assert torch.rand((), generator=generator) == torch.rand((), generator=again)  # goes on where drawing ended


def test_the_next_is_drawn_while_this_one_is_used():
    begun = threading.Event()

    def sample_batch(generator: torch.Generator) -> None:
        if generator.initial_seed() == 1:
            begun.set()

    with closing(prefetch(sample_batch, range(5), GPU)) as drawn:
        next(drawn)
        assert begun.wait(5)


def test_no_more_is_drawn_than_the_threads_hold(monkeypatch):
    monkeypatch.setattr(prefetch_module, "THREADS", 2)
    drawn: list[int] = []
    with closing(prefetch(lambda generator: drawn.append(generator.initial_seed()), range(100), GPU)) as steps:
        for _ in range(3):
            next(steps)
        time.sleep(0.05)
        assert len(drawn) <= 3 + 2
    assert len(drawn) <= 3 + 2


def test_nothing_is_drawn_ahead_where_the_cpu_computes():
    drawn: list[int] = []
    steps = prefetch(lambda generator: drawn.append(generator.initial_seed()), range(9), CPU)
    for _ in range(3):
        next(steps)
    assert drawn == [0, 1, 2]


@pytest.mark.parametrize("device", [CPU, GPU])
def test_an_error_comes_at_its_own_step(device):
    def sample_batch(generator: torch.Generator) -> int:
        if generator.initial_seed() == 3:
            raise ValueError("frame 7 is damaged")
        return 0

    steps = prefetch(sample_batch, range(9), device)
    assert [next(steps)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="frame 7 is damaged"):
        next(steps)
