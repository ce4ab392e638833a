from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_video_times import write_video

from wla.compat.videos import CAMERA, caption_from_name, convert_videos
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.dataset import check
from wla.data.validation.issues import count_errors
from wla.data.video import codec


def clip(path: Path, levels: list[int], rate: int = 30, size: tuple[int, int] = (32, 48)) -> None:
    """Writes a video with frames of one uniform level each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(codec.encode([np.full((*size, 3), level, np.uint8) for level in levels], Fraction(rate)))


def levels(root: Path) -> list[list[int]]:
    """Returns for each episode the levels at the centre of its frames."""
    dataset = LeRobotDataset(root)
    middle = dataset.frames(CAMERA)[:, 16, 16, 0]
    return [middle[episode.start : episode.end].tolist() for episode in dataset.episodes]


@pytest.mark.parametrize("name", ["../mine.mp4", "{outside}/mine.mp4", "a\0.mp4"])
def test_a_table_of_clips_names_files_below_the_folder_only(tmp_path, name):
    (tmp_path / "clips").mkdir()
    (tmp_path / "mine.mp4").write_bytes(b"mine")
    (tmp_path / "clips.csv").write_text(f"file,caption\n{name.format(outside=tmp_path)},take it\n")
    with pytest.raises(ValueError, match=r"clips.csv line 2: the path .*(leads out of|contains a control)"):
        convert_videos(tmp_path / "clips", tmp_path / "out", fps=10.0, side=32, captions=tmp_path / "clips.csv")


def test_names_become_captions_and_frames_are_resampled(tmp_path):
    clip(tmp_path / "in" / "pick_up_the_cup_01.mp4", list(range(100, 130)))
    clip(tmp_path / "in" / "more" / "Open-Drawer.mp4", [200] * 30)
    count, left_out = convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    assert (count, left_out) == (2, [])
    dataset = LeRobotDataset(tmp_path / "out")
    assert [episode.instruction for episode in dataset.episodes] == ["open drawer", "pick up the cup"]
    assert (dataset.fps, dataset.actions, dataset.cameras) == (10, None, {CAMERA: (32, 32)})
    np.testing.assert_allclose(levels(tmp_path / "out")[1], range(100, 130, 3), atol=2)
    assert dataset.frames(CAMERA)[0, 0].max() < 20  # the image is wider than high: black above and below
    assert count_errors(check(tmp_path / "out")) == 0


def test_frames_of_slow_videos_are_repeated(tmp_path):
    clip(tmp_path / "in" / "go.mp4", [50, 100, 150], rate=5)
    convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    np.testing.assert_allclose(levels(tmp_path / "out"), [[50, 50, 100, 100, 150, 150]], atol=2)


def test_videos_are_split_at_cuts(tmp_path):
    clip(tmp_path / "in" / "go.mp4", [10] * 5 + [200] * 4 + [90], rate=10)
    count, left_out = convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    assert [len(episode) for episode in levels(tmp_path / "out")] == [5, 4]
    assert (count, left_out) == (2, ["go.mp4: 1 frames of 'go' are too few"])
    assert convert_videos(tmp_path / "in", tmp_path / "whole", fps=10.0, side=32, cuts=False) == (1, [])


def test_clips_are_read_from_a_csv(tmp_path):
    clip(tmp_path / "in" / "a.mp4", list(range(100, 120)), rate=10)
    table = tmp_path / "clips.csv"
    table.write_text("file,caption,start,end\na.mp4,erste Hälfte,,1.0\na.mp4,second half,1.0,\n", encoding="utf-8")
    convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32, captions=table)
    dataset = LeRobotDataset(tmp_path / "out")
    assert [episode.instruction for episode in dataset.episodes] == ["erste Hälfte", "second half"]
    np.testing.assert_allclose(levels(tmp_path / "out"), [range(100, 110), range(110, 120)], atol=2)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("file,caption\n", "lists no clips"),
        ("file,caption\na.mp4,\n", "line 2: needs a file and a caption"),
        ("file,caption\nb.mp4,go\n", "b.mp4 is missing"),
        ("file,caption,start,end\na.mp4,go,2,1\n", "the end must be after the start"),
        ("file,caption,start,end\na.mp4,go,soon,\n", "start and end must be seconds"),
    ],
)
def test_an_invalid_csv_is_refused_and_leaves_nothing_behind(tmp_path, rows, match):
    clip(tmp_path / "in" / "a.mp4", [1, 2, 3])
    table = tmp_path / "clips.csv"
    table.write_text(rows, encoding="utf-8")
    with pytest.raises(ValueError, match=match):
        convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32, captions=table)
    assert not (tmp_path / "out").exists()


def test_invalid_sources_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no videos here"):
        convert_videos(tmp_path / "empty", tmp_path / "out", fps=10.0, side=32)
    clip(tmp_path / "numbers" / "0001.mp4", [1, 2])
    with pytest.raises(ValueError, match=r"no caption in the name of 0001.mp4; rename it, or give --captions"):
        convert_videos(tmp_path / "numbers", tmp_path / "out", fps=10.0, side=32)
    with pytest.raises(ValueError, match="requires an even number"):
        convert_videos(tmp_path / "numbers", tmp_path / "out", fps=10.0, side=33)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "go.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="damaged video"):
        convert_videos(tmp_path / "broken", tmp_path / "out", fps=10.0, side=32)
    assert not (tmp_path / "out").exists()
    clip(tmp_path / "good" / "go.mp4", [1, 2, 3])
    convert_videos(tmp_path / "good", tmp_path / "out", fps=30.0, side=32)
    with pytest.raises(ValueError, match="exists already"):
        convert_videos(tmp_path / "good", tmp_path / "out", fps=30.0, side=32)


def test_captions_from_names():
    assert caption_from_name("pick_up-the_cup_03") == "pick up the cup"
    assert caption_from_name("Drei Würfel.stapeln") == "drei würfel stapeln"
    assert caption_from_name("0001") == ""


def varying(path: Path) -> None:
    """Ten frames a second, and thirty from the first second on; frame k has the level 50 + 4 k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [*range(0, 1000, 100), *(1000 + 1000 * k // 30 for k in range(30))]
    write_video(path, [np.full((32, 48, 3), 50 + 4 * k, np.uint8) for k in range(40)], times=times, options={"bf": "0"})


def test_frames_are_taken_at_the_times_at_which_they_are_shown(tmp_path):
    varying(tmp_path / "in" / "go.mp4")
    convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32, cuts=False)
    expected = [50 + 4 * k for k in (*range(10), *range(10, 40, 3))]
    (found,) = levels(tmp_path / "out")
    np.testing.assert_allclose(found[:20], expected, atol=3)
    assert len(found) <= 21  # the last frame may be shown a little longer
    table = tmp_path / "clips.csv"
    table.write_text("file,caption,start,end\ngo.mp4,second half,1.0,2.0\n")
    convert_videos(tmp_path / "in", tmp_path / "half", fps=10.0, side=32, captions=table, cuts=False)
    np.testing.assert_allclose(levels(tmp_path / "half"), [expected[10:]], atol=3)


def test_what_is_after_the_end_of_a_video_is_named(tmp_path):
    clip(tmp_path / "in" / "a.mp4", [100] * 20, rate=10)
    table = tmp_path / "clips.csv"
    table.write_text("file,caption,start,end\na.mp4,all,0,9\na.mp4,nothing,5,6\na.mp4,fits,0,2\n")
    count, left_out = convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32, captions=table)
    assert count == 2
    assert left_out == [
        "a.mp4: 2.0 to 9 s of 'all'; the video ends at 2.0 s",
        "a.mp4: 5.0 to 6 s of 'nothing'; the video ends at 2.0 s",
    ]


def test_damaged_files_and_those_of_other_kinds_are_named_and_the_rest_goes_on(tmp_path):
    clip(tmp_path / "in" / "good.mp4", [100] * 20, rate=10)
    whole = (tmp_path / "in" / "good.mp4").read_bytes()
    (tmp_path / "in" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "empty.mov").touch()
    (tmp_path / "in" / "notes.txt").write_text("none")
    (tmp_path / "in" / "._good.mp4").write_bytes(b"\0\5\x16\7")
    count, left_out = convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    assert count == 1
    assert [line.split(": ")[0].rpartition("/")[2] for line in left_out] == [
        "files with other endings",
        "cut.mp4",
        "empty.mov",
    ]
    assert "notes.txt" in left_out[0]
    (tmp_path / "in" / "good.mp4").unlink()
    with pytest.raises(ValueError, match=r"no clip has 2 frames .*cut.mp4: damaged video") as caught:
        convert_videos(tmp_path / "in", tmp_path / "none", fps=10.0, side=32)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "none").exists()


def test_scenes_before_the_damage_are_kept_and_counted(tmp_path, monkeypatch):
    clip(tmp_path / "in" / "go.mp4", [10] * 5 + [200] * 5, rate=10)
    whole = codec.decode_timed

    def cut_off(path, *args):
        yield from list(whole(path, *args))[:8]
        raise ValueError(f"{path}: damaged video at frame 8 (cut off); restore it or collect the dataset again")

    monkeypatch.setattr(codec, "decode_timed", cut_off)
    count, (line,) = convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    assert count == 1
    assert line.endswith("go.mp4: damaged video at frame 8 (cut off); 1 episodes before that are kept")


@pytest.mark.parametrize(
    ("ending", "encoder", "pix_fmt"),
    [
        (".mpg", "mpeg2video", "yuv420p"),
        (".m4v", "libx264", "yuv420p"),
        (".gif", "gif", "rgb8"),
        (".ts", "libx264", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".MOV", "libx264", "gray"),
    ],
)
def test_usual_formats_are_read(tmp_path, ending, encoder, pix_fmt):
    path = tmp_path / "in" / f"go{ending}"
    path.parent.mkdir()
    with av.open(str(path), "w", format="mov" if ending == ".MOV" else None) as container:
        stream = container.add_stream(encoder, rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, pix_fmt
        for level in range(60, 180, 6):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), level, np.uint8)).reformat(format=pix_fmt)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    convert_videos(tmp_path / "in", tmp_path / "out", fps=5.0, side=32, cuts=False)
    np.testing.assert_allclose(levels(tmp_path / "out"), [[60, 90, 120, 150]], atol=4 if pix_fmt == "yuv420p" else 20)
