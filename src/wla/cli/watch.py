"""`wla watch`: a page about a served policy; parsing and printing only."""

from __future__ import annotations

import os
import sys
import webbrowser
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.cli.serve import require_serving
from wla.cli.streams import print_error
from wla.foreign import one_line
from wla.specs import RobotSpec


class WatchArgs(CliArgs):
    """Watch a served policy at work in a browser: what it sees, plans, remembers and does.

    Live cameras, the planned subtasks, the memory, which can be edited, curves of the actions with the robot's limits,
    latency, imagined images beside what came, and a button that stops the robot. The page is served on this machine
    only, loads nothing from elsewhere, and its address holds a key: whoever has it commands the robot. A token for the
    policy's server is read from WLA_TOKEN.

    examples:
      wla watch ws://127.0.0.1:8000
      wla watch ws://127.0.0.1:8000 --port 8090 --no-browser
      wla watch ws://127.0.0.1:8000 --rerun outputs/rerun
      wla watch ws://127.0.0.1:8000 --rerun viewer
    """

    server: str
    """Address of `wla serve`: ws://HOST:PORT or wss://HOST:PORT."""
    port: int = Field(default=0, ge=0, le=65535)
    """TCP port of the page; 0 for any free one."""
    no_browser: bool = False
    """Only print the address."""
    rerun: str | None = None
    """Also log for Rerun (rerun-sdk): a folder that gets a file (.rrd) per episode, or `viewer`, which is opened."""


def watch(args: WatchArgs) -> int:
    require_serving()
    import asyncio

    asyncio.run(_watch(args))
    return 0


async def _watch(args: WatchArgs) -> None:
    from contextlib import AsyncExitStack, closing

    from wla.serving.watch.page import WatchPage
    from wla.serving.watch.rerun_log import RerunLog
    from wla.serving.watch.source import ObservedServer

    observed = ObservedServer(args.server)
    async with AsyncExitStack() as stack:
        if args.rerun is not None:
            observed.listeners.append(stack.enter_context(closing(RerunLog(args.rerun))))
        try:
            page = await stack.enter_async_context(WatchPage(observed, args.port))
        except OSError as error:
            raise ValueError(f"cannot listen on port {args.port} ({error.strerror}); choose another --port") from error
        observed.listeners.append(_Terminal(page.address, browser=not args.no_browser))
        await observed.run()


class _Terminal:
    """A `Listener` that prints where the page is, and opens it once."""

    def __init__(self, address: str, *, browser: bool) -> None:
        self._address, self._browser = address, browser

    def connected(self, server: Mapping[str, Any], robot: RobotSpec) -> None:
        print(f"watching {one_line(server.get('policy'))}: {self._address} (Ctrl-C ends)", flush=True)
        # Without a display a browser in text mode would take over the terminal.
        if self._browser and (sys.platform == "darwin" or os.environ.keys() & {"DISPLAY", "WAYLAND_DISPLAY"}):
            webbrowser.open(self._address)
        self._browser = False

    def lost(self, line: str) -> None:
        print_error(f"wla: {line}; waiting for it to come back")

    def received(self, fields: Mapping[str, Any]) -> None:
        pass


WATCH = {"watch": Command(WatchArgs, watch, positional=("server",))}
