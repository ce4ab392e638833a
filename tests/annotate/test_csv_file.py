"""CSV files of segments."""

from __future__ import annotations

import pytest

from wla.annotate.csv_file import read_csv, write_csv
from wla.annotate.segments import Segment
from wla.data.lerobot.reader import Episode

EPISODES = (Episode(0, 0, 10, "a"), Episode(1, 10, 20, "b"))
HEADER = "episode,first_frame,last_frame,text\n"


def test_segments_survive_a_round_trip(tmp_path):
    segments = [
        Segment(0, 0, 3, 'the "red" one, then rest'),
        Segment(0, 5, 9, "Würfel greifen"),
        Segment(1, 2, 2, "抓住方块"),
    ]
    write_csv(tmp_path / "l.csv", segments)
    assert (tmp_path / "l.csv").read_text("utf-8").startswith(HEADER)
    assert read_csv(tmp_path / "l.csv", EPISODES) == segments


def test_files_saved_by_spreadsheets_are_read(tmp_path):
    text = HEADER.replace("\n", "\r\n") + "0,0,3,Würfel\r\n,,,\r\n\r\n1,0,1,b\r\n"
    (tmp_path / "l.csv").write_bytes(text.encode("utf-8-sig"))
    assert read_csv(tmp_path / "l.csv", EPISODES) == [Segment(0, 0, 3, "Würfel"), Segment(1, 0, 1, "b")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0,3,a\n", "line 1: the header must be episode,first_frame,last_frame,text"),
        ("", "line 1: the header must be"),
        (HEADER + "0,0,3,a\n0,3,4,b\n", r"line 3: frames 3 \.\. 4 of episode 0 overlap 0 \.\. 3 .*correct the line"),
        (HEADER + "7,0,3,a\n", "line 2: episode 7 is not in the dataset"),
        (HEADER + "0,0,10,a\n", r"line 2: frames 0 \.\. 10 of episode 0, which has 0 \.\. 9"),
        (HEADER + "0,0,3,\n", "line 2: the text is empty"),
        (HEADER + "0,0,3\n", "line 2: has 3 cells, the header 4"),
        (HEADER + "0,0,3,a,b\n", "line 2: has 5 cells, .* commas needs quotes"),
        (HEADER + "0,zero,3,a\n", "line 2: episode and frames must be integers"),
        (HEADER + '0,0,3,"a\n', "not valid CSV"),
    ],
)
def test_errors_name_the_line(tmp_path, text, message):
    (tmp_path / "l.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path / "l.csv", EPISODES)


def test_a_file_that_is_absent_or_not_utf8_is_an_error(tmp_path):
    (tmp_path / "l.csv").write_bytes((HEADER + "0,0,3,Würfel\n").encode("latin-1"))
    with pytest.raises(ValueError, match=r"l\.csv: damaged CSV file .not UTF-8, .*save it as UTF-8"):
        read_csv(tmp_path / "l.csv", EPISODES)
    with pytest.raises(ValueError, match="no such CSV file"):
        read_csv(tmp_path / "other.csv", EPISODES)
