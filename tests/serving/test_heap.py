"""Memory of a server that is sent many frames."""

from __future__ import annotations

import asyncio
import multiprocessing
import platform
import random
from multiprocessing.connection import Connection

import psutil
import pytest
from served import Teller
from websockets.sync.client import connect

from wla.serving import PolicyServer, ServerConfig

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def serve(pipe: Connection) -> None:
    async def run() -> None:
        async with PolicyServer(Teller(), "constant", ServerConfig(port=0)) as server:
            pipe.send(server.port)
            await asyncio.Event().wait()

    asyncio.run(run())


@pytest.mark.slow
def test_refused_frames_of_all_sizes_leave_no_memory_behind() -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    rng, memory = random.Random(0), []
    with connect(f"ws://127.0.0.1:{ours.recv()}", compression=None) as connection:
        connection.recv()
        for _ in range(3):
            for _ in range(10_000):
                connection.send(b"\x91" * rng.randrange(1, 5000) + b"\xc0")
                assert isinstance(connection.recv(timeout=10), str)
            memory.append(psutil.Process(process.pid).memory_info().rss)
    process.terminate()
    assert memory[2] < 1.005 * memory[0]
