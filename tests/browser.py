"""Pages in a real browser: Chromium, driven by playwright. Tests that use it are slow, and skipped without one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PHONE, DESK = 390, 1440
"""Widths in pixels."""
_FLAGS = ("no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update")

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

CONTRAST = """() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => {
    const part = c => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  };
  const background = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const low = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const box = node.parentElement;
    if (!node.data.trim() || !box.checkVisibility() || box.closest("script, :disabled")) continue;
    const [a, b] = [parse(getComputedStyle(box).color), background(box)].map(luminance);
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) low.push(`${ratio.toFixed(1)}: ${node.data.trim().slice(0, 40)}`);
  }
  return low;
}"""
"""Texts whose contrast with their background is below 4.5, the threshold of WCAG 2 AA."""


@contextmanager
def opened(
    page: Path | str, *, width: int = DESK, dark: bool = False, fragment: str = "", expected: str = ""
) -> Iterator[Any]:
    """A playwright page that shows the file or address. Fails for errors in the console, other than the `expected` one,
    and for what is loaded from elsewhere."""
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    address = page if isinstance(page, str) else page.resolve().as_uri()
    own = ("file:", "data:", "blob:", *([address.partition("?")[0]] if isinstance(page, str) else []))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in _FLAGS])
        context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        shown = context.new_page()
        shown.set_default_timeout(10_000)
        shown.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on(
            "request",
            lambda request: None if request.url.startswith(own) else problems.append(request.url),
        )
        shown.goto(address + fragment)
        yield shown
        browser.close()
    problems = [problem for problem in problems if not expected or expected not in problem]
    assert not problems, problems


def overflow(shown: Any) -> int:
    """Pixels by which the page is wider than the window."""
    return int(shown.evaluate("document.documentElement.scrollWidth - innerWidth"))


def in_window(shown: Any, selector: str) -> bool:
    """Whether an element lies within the window, without scrolling sideways or down."""
    box = shown.locator(selector).first.bounding_box()
    size = shown.viewport_size
    return bool(
        box
        and box["x"] >= 0
        and box["x"] + box["width"] <= size["width"]
        and box["y"] + box["height"] <= size["height"]
    )
