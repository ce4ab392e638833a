"""The report in Chromium, as a person meets it: on a phone and a desk, by keyboard, with many failures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import CONTRAST, DESK, PHONE, in_window, needs_browser, opened, overflow
from fakes import LineEnv, Walker
from test_benchmark import go

from wla.evaluation.report import write_report
from wla.evaluation.summary import Identity
from wla.rollout.runner import EpisodeRunner

pytestmark = [pytest.mark.slow, needs_browser]

IDENTITY = Identity(policy="a_policy_with_a_rather_long_name/checkpoint", checkpoint_sha256=None, replan_steps=None)
FAILING = [seed for seed in range(120) if seed % 2 and seed % 10 not in (7, 9)][:30]


TEXT_HEIGHTS = """cells => cells.map(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return [cell.textContent, range.getBoundingClientRect().height];
})"""


class LabelledEnv(LineEnv):
    """Says what an expert would do, so that the report has text metrics."""

    def reset(self, **options: Any) -> tuple[dict, dict]:
        observation, info = super().reset(**options)
        return observation, info | {"subtask": "set off"}

    def step(self, action: Any) -> tuple[dict, float, bool, bool, dict]:
        *returned, info = super().step(action)
        return (*returned, info | {"subtask": "arrive" if self.x >= 0.5 else "set off"})


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    runner = EpisodeRunner(lambda variant, shared: (LabelledEnv(), shared or Walker()), IDENTITY.policy, imagine=True)
    go(out, [0, 7, *FAILING], runner=runner, identity=IDENTITY, max_videos=60)
    return write_report(out)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 820, DESK])
def test_success_is_visible_nothing_is_cut_and_texts_are_readable(report, width, dark):
    with opened(report, width=width, dark=dark) as page:
        assert overflow(page) <= 0
        assert in_window(page, "#success .big")
        assert in_window(page, "tbody tr strong")
        texts = page.locator("tbody th").evaluate_all(TEXT_HEIGHTS)
        assert [text for text, _ in texts] == ["walk", "walk"]  # rates, and text metrics
        assert all(height < 30 for _, height in texts)  # on one line
        page.locator("details").first.evaluate(
            "all => document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        page.locator("article").first.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelector('article .curves path')")
        assert overflow(page) <= 0
        assert page.evaluate(CONTRAST) == []


def test_videos_load_when_they_are_seen_and_never_before(report):
    with opened(report) as page:
        loaded = "[...document.querySelectorAll('video')].filter(video => video.src).length"
        assert page.evaluate("document.querySelectorAll('video').length") == 32
        assert page.evaluate(loaded) <= 1
        page.locator("article").nth(20).scroll_into_view_if_needed()
        page.wait_for_function("document.querySelectorAll('article')[20].querySelector('video').readyState >= 1")
        assert page.evaluate(loaded) <= 8


def test_the_timeline_moves_by_keyboard_and_pointer(report):
    with opened(report) as page:
        card = page.locator("article").first
        card.scroll_into_view_if_needed()
        slider = card.get_by_role("slider", name="Frame")
        slider.focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert slider.input_value() == "2"
        assert card.locator(".clock").inner_text().endswith("frame 2")
        assert slider.get_attribute("aria-valuetext").startswith("frame 2 of 8, 0.2 s")
        page.wait_for_function("Math.abs(document.querySelector('article video').currentTime - .25) < .01")
        page.keyboard.press("End")
        assert card.locator(".clock").inner_text().endswith("frame 8")
        page.keyboard.press("Home")
        page.keyboard.press("Space")
        assert card.locator(".play").inner_text() == "Pause"
        page.wait_for_function("document.querySelector('article .play').textContent === 'Play'")
        assert slider.input_value() == "8"  # it played to the end
        box = card.locator(".curves .track").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + 9)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 9, steps=4)
        assert slider.input_value() == "4"
        page.mouse.move(box["x"] - 50, box["y"] + 9, steps=4)
        page.mouse.up()
        assert slider.input_value() == "0"


def test_the_filter_shows_outcomes_tasks_and_seeds(report):
    with opened(report) as page:
        page.get_by_role("button", name="successes 1").click()
        assert page.locator("article:visible").count() == 1
        assert page.locator(".filter output").inner_text() == "1 of 32 shown"
        page.get_by_role("button", name="failures 30").press("Enter")
        assert page.locator("article:visible").count() == 30
        page.get_by_role("searchbox").fill(str(FAILING[-1]))
        assert page.locator("article:visible").count() == 1
        page.get_by_role("searchbox").fill("")
        page.get_by_role("combobox", name="Task").select_option("walk")
        assert page.locator("article:visible").count() == 30


def test_a_mark_leads_to_its_episode_even_when_that_is_filtered_out(report):
    with opened(report) as page:
        page.get_by_role("button", name="successes 1").click()
        page.evaluate("location.hash = document.querySelector('article[data-outcome=error]').id")
        page.wait_for_function("document.activeElement.dataset.outcome === 'error'")
        assert in_window(page, "article[data-outcome=error] header")


def test_a_missing_video_leaves_a_message_and_the_rest_works(report, tmp_path):
    page_path = tmp_path / "report.html"
    page_path.write_text(report.read_text("utf-8").replace("video.mp4", "gone.mp4"), encoding="utf-8")
    with opened(page_path, expected="ERR_FILE_NOT_FOUND") as page:
        card = page.locator("article").first
        card.scroll_into_view_if_needed()
        card.locator(".missing").wait_for()
        card.locator(".play").click()
        page.wait_for_function("document.querySelector('article .scrub').value === '8'")


def test_a_single_file_works_alone(report, tmp_path):
    alone = write_report(report.parent, page=tmp_path / "alone" / "report.html", single_file=True)
    with opened(alone) as page:
        page.locator("article").first.scroll_into_view_if_needed()
        page.wait_for_function("document.querySelector('article video').readyState >= 1")
