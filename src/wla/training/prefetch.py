"""Samples of the next steps, drawn in other threads while a GPU computes this one."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

BatchT = TypeVar("BatchT")
THREADS = 4
"""For a GPU. recipes/nano_memory_world.py draws the 256 samples of a step in 0.1 s of a core (AMD EPYC). With these
threads an H200 took 0.26 s a step; without them it was not timed."""


def prefetch(
    sample_batch: Callable[[torch.Generator], BatchT], seeds: Iterable[int], device: torch.device
) -> Generator[tuple[int, torch.Generator, BatchT]]:
    """Each seed with its generator and what `sample_batch` made of it, in order. Closing it drops what is under way.

    Everything random comes from the seed, so what is drawn does not depend on when, or beside what else. Where the CPU
    is what computes, nothing is drawn ahead: another thread takes its cores (a value model whose backbone learned, on
    two of them: 0.38 s a step, else 0.23 s).
    """

    def begin(seed: int) -> tuple[torch.Generator, BatchT]:
        generator = torch.Generator().manual_seed(seed)
        return generator, sample_batch(generator)

    if device.type == "cpu":
        for seed in seeds:
            yield seed, *begin(seed)
        return
    threads = min(THREADS, os.cpu_count() or 1)
    pending: deque[tuple[int, Future[tuple[torch.Generator, BatchT]]]] = deque()
    pool = ThreadPoolExecutor(threads, "draw")
    try:
        for seed in seeds:
            pending.append((seed, pool.submit(begin, seed)))
            if len(pending) > threads:
                first, found = pending.popleft()
                yield first, *found.result()
        while pending:
            first, found = pending.popleft()
            yield first, *found.result()
    finally:
        pool.shutdown(cancel_futures=True)
