"""A pool of spawned processes that end with their parent and leave Ctrl-C to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")


@contextmanager
def worker_pool(
    workers: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[ProcessPoolExecutor]:
    """Context with spawned processes for `submit`, which end with this one however it ends. Ctrl-C cancels their work.

    Args:
        workers: number of processes.
        initializer: called at the start of each process.
        initargs: its arguments.

    Raises:
        ChildProcessError: a process died.
    """
    # spawn: a forked child would inherit OpenGL contexts and thread pools that do not work there.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _initialize_process, (initializer, initargs)
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise ChildProcessError(
            "a worker process died (killed, or out of memory: fewer workers need less); the same command resumes"
        ) from error
    except (KeyboardInterrupt, GeneratorExit):
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _initialize_process(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    end_with_parent()
    if initializer is not None:
        initializer(*initargs)


def end_with_parent() -> None:
    """Ends this process with its parent: a killed parent sends no signal, and its children would wait forever."""
    threading.Thread(target=_exit_after_parent, daemon=True).start()


def _exit_after_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def submit(pool: ProcessPoolExecutor, function: Callable[[Argument], Result], argument: Argument) -> Future[Result]:
    """Runs the function in one of the processes, which leave Ctrl-C to this one."""
    with interrupts_blocked():  # submitting may start a process
        return pool.submit(function, argument)


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes that are started inside leave Ctrl-C to this one: it reaches every process of a terminal, but this one
    alone decides what happens then."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
