"""HTML report for reviewing labels: its content and, where Chromium is installed, its buttons."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from motions import CARRY, PICK, RELEASE, write
from PIL import Image

from wla.annotate import review
from wla.annotate.csv_file import read_csv, write_csv
from wla.annotate.review import write_review_html
from wla.annotate.segments import Segment
from wla.data.lerobot.reader import LeRobotDataset

NASTY = '</script><b onload="x">Würfel & "抓住方块", dann'
SEGMENTS = [Segment(0, 0, 5, "reach"), Segment(0, 6, 12, NASTY), Segment(1, 2, 5, "press"), Segment(2, 0, 3, "last")]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> LeRobotDataset:
    recordings = [(NASTY, [*PICK, *CARRY, *RELEASE]), ("press the button", PICK), ("press <it>", PICK)]
    return LeRobotDataset(write(tmp_path_factory.mktemp("data") / "d", recordings))


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def page_data(path: Path) -> dict:
    text = path.read_text("utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    return json.loads(data)


def test_the_report_contains_segments_and_images_and_loads_nothing(dataset, tmp_path):
    assert write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=10) == 3
    text = (tmp_path / "p.html").read_text("utf-8")
    tags = Tags(text).found
    assert "b" not in [tag for tag, _ in tags]  # the text is escaped
    assert not [attrs for _, attrs in tags if "src" in attrs or "href" in attrs]
    assert "http" not in text.replace("https://www.w3.org", "")
    first = page_data(tmp_path / "p.html")["episodes"][0]
    assert first["instruction"] == NASTY
    assert first["segments"] == [[0, 5, "reach"], [6, 12, NASTY]]
    sheet = first["sheet"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["url"].partition(",")[2]))))
    assert image.shape == (32, 16 * 32, 3)  # sixteen frames
    assert abs(int(image[16, 16, 0]) - 40) < 8


def test_segments_of_episodes_that_are_not_shown_are_embedded(dataset, tmp_path):
    assert write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=2) == 2
    episodes = page_data(tmp_path / "p.html")["episodes"]
    assert [episode["sheet"] is not None for episode in episodes] == [True, False, True]
    assert episodes[1]["segments"] == [[2, 5, "press"]]


def test_long_episodes_have_evenly_spaced_images(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(review, "MAX_IMAGES", 4)
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=1)
    assert page_data(tmp_path / "p.html")["episodes"][0]["sheet"]["frames"] == [0, 5, 10, 15]


def in_browser(page: Path, script: str) -> str:
    """Runs a script on the page and returns the value of its variable `result`."""
    ending = (
        f"<script>let result; {script}; document.title = btoa(unescape(encodeURIComponent(result)));</script></body>"
    )
    text = page.read_text("utf-8").replace("</body>", ending)
    changed = page.with_name("script.html")
    changed.write_text(text, encoding="utf-8")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", changed.as_uri()]
    profile = f"--user-data-dir={page.parent / 'profile'}"
    process = subprocess.run(
        [str(CHROMIUM), profile, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    (title,) = re.findall("<title>(.*?)</title>", process.stdout)
    return base64.b64decode(title).decode()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_the_export_equals_a_written_csv(dataset, tmp_path):
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=2)
    write_csv(tmp_path / "expected.csv", SEGMENTS)
    assert in_browser(tmp_path / "p.html", "result = csv()") == (tmp_path / "expected.csv").read_text("utf-8")


EDITS = """
const section = document.getElementById("episode-0");
const button = name => [...section.querySelectorAll("tr:first-child button")].find(b => b.textContent === name);
const type = (input, value) => {
  input.value = value;
  for (const kind of ["input", "change"]) input.dispatchEvent(new Event(kind));
};
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_segments_are_edited(dataset, tmp_path):
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS[:2], episodes=3)
    script = (
        EDITS
        + """
    button("Split").click();
    type(section.querySelector("tr:nth-child(2) input[type=text]"), "grasp, 抓");
    type(section.querySelector("tr:nth-child(3) input[type=number]"), 7);
    result = csv()
    """
    )
    (tmp_path / "l.csv").write_text(in_browser(tmp_path / "p.html", script), encoding="utf-8")
    split = [Segment(0, 0, 2, "reach"), Segment(0, 3, 5, "grasp, 抓"), Segment(0, 7, 12, NASTY)]
    assert read_csv(tmp_path / "l.csv", dataset.episodes) == split
    merged = in_browser(tmp_path / "p.html", EDITS + 'button("Merge").click(); result = csv()')
    assert merged.splitlines()[1:] == ["0,0,12,reach"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_overlapping_segments_are_not_exported(dataset, tmp_path):
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS, episodes=3)
    script = (
        EDITS
        + """
    type(section.querySelector("tr:nth-child(2) input[type=number]"), 4);
    exportCsv();
    result = document.getElementById("problem").textContent
    """
    )
    message = "episode 0, segment 2: overlaps the previous segment; correct it first"
    assert in_browser(tmp_path / "p.html", script) == message


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_in_a_browser_a_dragged_boundary_moves_both_segments_and_stops_at_the_next(dataset, tmp_path):
    write_review_html(tmp_path / "p.html", dataset, SEGMENTS[:2], episodes=3)
    script = (
        EDITS
        + """
    Element.prototype.setPointerCapture = () => {};  // a script has no pointer of its own
    Element.prototype.hasPointerCapture = () => true;
    const timeline = section.querySelector(".timeline");
    function drag(number, frame) {
      const boundary = timeline.querySelectorAll(".boundary")[number], box = timeline.getBoundingClientRect();
      const at = { clientX: box.left + box.width * frame / 16, bubbles: true };
      for (const kind of ["pointerdown", "pointermove", "pointerup"])
        boundary.dispatchEvent(new PointerEvent(kind, at));
    }
    drag(1, 9);
    const first = csv();
    drag(1, -5);
    drag(2, 99);
    result = first + csv()
    """
    )
    rows = in_browser(tmp_path / "p.html", script).splitlines()
    assert rows[1] == "0,0,8,reach"
    assert rows[2].startswith("0,9,12,")
    assert rows[4] == "0,0,0,reach"
    assert rows[5].startswith("0,1,15,")
