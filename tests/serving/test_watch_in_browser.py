"""The page of `wla watch` in a browser: it plays, edits the memory, and stops the robot."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
from browser import CONTRAST, DESK, PHONE, in_window, needs_browser, opened, overflow
from served import served
from test_observers import Remembering, ask, connected

from wla.serving.watch.page import WatchPage
from wla.serving.watch.source import ObservedServer

pytestmark = [pytest.mark.slow, needs_browser]


@contextmanager
def in_thread(address: str) -> Iterator[str]:
    """The address of a page about the server, which runs in a thread of its own."""
    ready, found = threading.Event(), []

    async def run() -> None:
        observed = ObservedServer(address)
        async with WatchPage(observed) as page:
            following = asyncio.create_task(observed.run())
            found.extend([page.address, asyncio.get_running_loop(), following])
            ready.set()
            with suppress(asyncio.CancelledError):
                await following

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        assert ready.wait(10)
        yield found[0]
    finally:
        found[1].call_soon_threadsafe(found[2].cancel)
        thread.join(10)


class Robot:
    """A client that asks for actions until it is closed, and keeps the refusals."""

    def __init__(self, address: str) -> None:
        self.refusals: list[str] = []
        self._address, self._ends = address, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Robot:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ends.set()
        self._thread.join(10)

    def _run(self) -> None:
        with connected(self._address) as client:
            while not self._ends.wait(0.1):
                answer = ask(client, value=0.5)
                if isinstance(answer, str):
                    self.refusals.append(answer)


@pytest.mark.parametrize(("width", "dark"), [(DESK, False), (PHONE, True)], ids=["desk", "phone"])
def test_a_person_watches_edits_and_stops(width: int, dark: bool) -> None:
    policy = Remembering()
    with served(policy) as address, in_thread(address) as page, opened(page, width=width, dark=dark) as shown:
        shown.get_by_text("Nothing has asked this policy").wait_for()
        with Robot(address) as robot:
            shown.locator(".cameras img").nth(1).wait_for()
            assert shown.locator("h1").inner_text() == "teller"
            assert shown.locator(".instruction").inner_text() == "go"
            shown.locator(".memory li").nth(3).wait_for()
            before = shown.locator(".plan li").first.inner_text()
            shown.wait_for_timeout(500)
            assert shown.locator(".plan li").first.inner_text() != before
            assert "m/step" in shown.locator(".curve output").first.inner_text()
            assert all(shown.locator(f".curve path.{kind}").first.get_attribute("d") for kind in ("executed", "limit"))
            assert "ms for the last call" in shown.locator(".latency").inner_text()

            shown.locator(".imagine input").check()
            shown.locator(".subgoals img").nth(2).wait_for()
            assert in_window(shown, ".stop")
            assert overflow(shown) <= 0
            assert shown.evaluate(CONTRAST) == []

            shown.locator(".edit .begin").click()
            shown.locator("textarea").fill("<b>opened the drawer</b>\n\nclosed it")
            shown.keyboard.press("Control+Enter")
            shown.locator(".edit form").wait_for(state="hidden")
            assert shown.locator(".memory li").first.inner_text() == "<b>opened the drawer</b>"
            assert shown.locator(".memory b").count() == 0
            shown.wait_for_timeout(500)
            assert policy.read[-1][:2] == ["<b>opened the drawer</b>", "closed it"]

            shown.keyboard.press("Escape")
            shown.get_by_text("Stopped: by a person who watches").wait_for()
            calls = len(policy.read)
            shown.wait_for_timeout(500)
            assert len(policy.read) == calls
            assert "by a person who watches" in robot.refusals[-1]
            assert in_window(shown, ".release")
            assert shown.evaluate(CONTRAST) == []
            shown.locator(".release").click()
            shown.wait_for_timeout(300)
            assert len(policy.read) == calls  # a single press moves nothing
            shown.locator(".release").click()
            shown.locator("#stopped").wait_for(state="hidden")
            shown.wait_for_timeout(500)
            assert len(policy.read) > calls


def test_a_page_that_is_not_live_says_so() -> None:
    policy = Remembering()
    with served(policy) as address, in_thread(address) as page, Robot(address), opened(page) as shown:
        shown.locator(".cameras img").first.wait_for()
        shown.evaluate("socket.close()")
        shown.get_by_text("the stop button does nothing").wait_for()
        shown.locator("#lost").wait_for(state="hidden")
