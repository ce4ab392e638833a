"""Page for reviewing labels: its content and, where Chromium is installed, what a person does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import CONTRAST, DESK, PHONE, needs_browser, opened, overflow
from motions import CARRY, PICK, RELEASE, write
from test_dataset_page import page_data

from wla.annotate.csv_file import read_csv, write_csv
from wla.annotate.review import write_review_html
from wla.annotate.segments import Segment
from wla.data.lerobot.reader import LeRobotDataset

NASTY = '</script><b onload="x">Würfel & "抓住方块", dann'
SEGMENTS = [Segment(0, 0, 5, "reach"), Segment(0, 6, 12, NASTY), Segment(1, 2, 5, "press"), Segment(2, 0, 3, "last")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataset:
    recordings = [(NASTY, [*PICK, *CARRY, *RELEASE]), ("press the button", PICK), ("press <it>", PICK)]
    return LeRobotDataset(write(tmp_path_factory.mktemp("data") / "d", recordings))


@pytest.fixture
def page(dataset: LeRobotDataset, tmp_path: Path) -> Path:
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=3)
    return tmp_path / "p.html"


def test_the_page_contains_segments_and_loads_nothing_from_elsewhere(page):
    text = page.read_text("utf-8")
    assert "<b onload" not in text
    assert "http" not in text
    first = page_data(page)["episodes"][0]
    assert first["instruction"] == NASTY
    assert first["subtasks"] == [[0, 5, "reach"], [6, 12, NASTY]]
    assert all((page.parent / url).is_file() for url in first["videos"])


def test_segments_of_episodes_that_are_not_shown_are_in_the_page(dataset, tmp_path):
    assert write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=2) == 2
    episodes = page_data(tmp_path / "p.html")["episodes"]
    assert [episode["videos"] is not None for episode in episodes] == [True, False, True]
    assert episodes[1]["subtasks"] == [[2, 5, "press"]]


def rows(shown: Any) -> list[list[str]]:
    """First frame, last frame and text of each row."""
    script = "all => all.map(row => [...row.querySelectorAll('input')].map(input => input.value))"
    return shown.locator(".segments li").evaluate_all(script)


def exported(shown: Any, path: Path) -> str:
    with shown.expect_download() as download:
        shown.get_by_role("button", name="Export CSV").click()
    download.value.save_as(path)
    return path.read_text("utf-8")


def focused(shown: Any) -> str:
    return str(shown.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))


slow = pytest.mark.slow


@slow
@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_fields_can_be_used_and_read_on_phone_and_desk(page, width, dark):
    with opened(page, width=width, dark=dark) as shown:
        shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert overflow(shown) <= 0
        assert shown.locator(".segments [type=text]").first.bounding_box()["width"] > 200
        assert shown.evaluate(CONTRAST) == []


@slow
@needs_browser
def test_the_export_equals_a_written_csv(dataset, tmp_path):
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=2)
    write_csv(tmp_path / "expected.csv", SEGMENTS)
    with opened(tmp_path / "p.html") as shown:
        assert exported(shown, tmp_path / "l.csv") == (tmp_path / "expected.csv").read_text("utf-8")


@slow
@needs_browser
def test_segments_are_edited_by_keyboard_and_the_focus_stays(dataset, page, tmp_path):
    with opened(page) as shown:
        split = shown.locator(".split").first
        split.focus()
        shown.keyboard.press("Enter")
        assert rows(shown)[:2] == [["0", "2", "reach"], ["3", "5", "reach"]]
        assert focused(shown) == "Split"
        shown.get_by_label("Text of segment 2").fill("grasp, 抓")
        last = shown.get_by_label("Last frame of segment 2")
        last.fill("4")
        shown.keyboard.press("Tab")
        assert focused(shown) == "Text of segment 2"
        first = shown.get_by_label("First frame of segment 3")
        first.fill("7")
        shown.keyboard.press("Shift+Tab")
        assert focused(shown) == "Remove"
        exported(shown, tmp_path / "l.csv")
        expected = [Segment(0, 0, 2, "reach"), Segment(0, 3, 4, "grasp, 抓"), Segment(0, 7, 12, NASTY), *SEGMENTS[2:]]
        assert read_csv(tmp_path / "l.csv", dataset.episodes) == expected
        shown.locator(".merge").first.click()
        assert rows(shown)[0] == ["0", "4", "reach"]


@slow
@needs_browser
def test_keys_split_add_edit_and_move_between_boundaries_and_episodes(page):
    with opened(page) as shown:
        scrub = shown.get_by_role("slider", name="Frame")
        scrub.focus()
        for _ in range(3):
            shown.keyboard.press("ArrowRight")
        shown.keyboard.press("s")
        assert rows(shown)[:2] == [["0", "2", "reach"], ["3", "5", "reach"]]
        shown.keyboard.press("]")
        assert scrub.input_value() == "6"
        shown.keyboard.press("[")
        assert scrub.input_value() == "3"
        shown.keyboard.press("e")
        assert focused(shown) == "Text of segment 2"
        shown.keyboard.press("j")  # typed into the field
        assert "j" in rows(shown)[1][2]
        shown.keyboard.press("Escape")
        shown.keyboard.press("j")
        assert shown.locator("h2").inner_text() == "press the button"
        scrub.focus()
        shown.keyboard.press("a")
        assert rows(shown)[0] == ["0", "1", ""]
        assert focused(shown) == "Text of segment 1"
        assert shown.locator(".invalid-reason").inner_text() == "segment 1: text is empty"
        shown.keyboard.type("reach")
        assert shown.locator(".invalid-reason").inner_text() == ""


@slow
@needs_browser
def test_boundaries_move_by_pointer_and_by_keys_and_stop_at_the_next(page):
    with opened(page) as shown:
        track = shown.locator(".editor .track").bounding_box()

        def drag(number: int, frame: float) -> None:
            box = shown.locator("[data-handle]").nth(number).bounding_box()
            shown.mouse.move(box["x"] + box["width"] / 2, box["y"] + 5)
            shown.mouse.down()
            shown.mouse.move(track["x"] + track["width"] * frame / 16, box["y"] + 5, steps=3)
            shown.mouse.up()

        drag(1, 9)
        assert [row[:2] for row in rows(shown)] == [["0", "8"], ["9", "12"]]
        drag(1, -5)
        drag(2, 99)
        assert [row[:2] for row in rows(shown)] == [["0", "0"], ["1", "15"]]
        handle = shown.locator("[data-handle]").nth(1)
        handle.focus()
        shown.keyboard.press("ArrowRight")
        shown.keyboard.press("ArrowRight")
        assert [row[:2] for row in rows(shown)] == [["0", "2"], ["3", "15"]]
        assert focused(shown).startswith("Start of </script>")


@slow
@needs_browser
def test_overlapping_segments_are_not_exported(page):
    with opened(page) as shown:
        shown.get_by_label("First frame of segment 2").fill("4")
        shown.get_by_role("button", name="Export CSV").click()
        message = "episode 0, segment 2: overlaps the previous segment; correct it first"
        assert shown.locator("#problem").inner_text() == message
        assert focused(shown) == "First frame of segment 2"


@slow
@needs_browser
def test_changes_are_undone_and_redone_across_episodes(page):
    with opened(page) as shown:
        before = rows(shown)
        shown.get_by_label("Text of segment 1").fill("")
        shown.keyboard.type("hello")
        shown.locator(".remove").nth(1).click()
        assert rows(shown) == [["0", "5", "hello"]]
        shown.get_by_role("button", name="Next").click()
        shown.get_by_role("button", name="Undo").click()
        assert [row[2] for row in rows(shown)] == ["hello", NASTY]
        shown.keyboard.press("Control+z")  # the text was typed in one go
        assert rows(shown) == before
        assert shown.get_by_role("button", name="Undo").is_disabled()
        shown.keyboard.press("Control+Shift+z")
        shown.keyboard.press("Control+y")
        assert rows(shown) == [["0", "5", "hello"]]


@slow
@needs_browser
def test_a_draft_survives_a_reload_and_belongs_to_its_dataset(dataset, page, tmp_path):
    other = LeRobotDataset(write(tmp_path / "other", [("another", [*PICK, *CARRY])]))
    write_review_html(tmp_path / "other.html", other, [Segment(0, 0, 3, "first")], episodes=3)
    with opened(page) as shown:
        shown.get_by_label("Text of segment 1").fill("changed")
        assert shown.locator("#saved").inner_text().startswith("Draft kept in this browser")
        shown.reload()
        assert rows(shown)[0] == ["0", "5", "changed"]
        assert "restored" in shown.locator("#saved").inner_text()
        shown.goto((tmp_path / "other.html").as_uri())
        assert rows(shown) == [["0", "3", "first"]]
        # The same dataset with other labels: the draft is offered.
        write_review_html(page, dataset, [Segment(0, 0, 9, "proposed")], episodes=3)
        shown.goto(page.as_uri())
        assert rows(shown) == [["0", "9", "proposed"]]
        shown.get_by_role("button", name="Restore it").click()
        assert rows(shown)[0] == ["0", "5", "changed"]
        shown.keyboard.press("Control+z")
        assert rows(shown) == [["0", "9", "proposed"]]
        assert shown.locator("#draft").is_hidden()


@slow
@needs_browser
def test_episodes_are_found_chosen_by_keys_and_named_in_the_address(page):
    with opened(page, fragment="#episode-2") as shown:
        assert shown.locator("h2").inner_text() == "press <it>"
        shown.get_by_role("searchbox").fill("PRESS")
        assert shown.get_by_role("option").count() == 2
        shown.get_by_role("option", selected=True).press("ArrowUp")
        assert shown.locator("h2").inner_text() == "press the button"
        assert shown.url.endswith("#episode-1")
        assert shown.locator(".episodes li:focus .text").inner_text() == "press the button"


@slow
@needs_browser
def test_videos_play_together_and_curves_show_their_values(page):
    with opened(page) as shown:
        shown.wait_for_function("document.querySelector('video').readyState >= 1")
        value = shown.locator(".curves output").first.inner_text()
        shown.get_by_role("button", name="Play").click()
        shown.wait_for_function("document.querySelector('.scrub').value === '15'")
        assert shown.locator(".curves output").first.inner_text() != value
