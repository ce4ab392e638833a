"""Names, paths and JSON of others: what leads out of a folder, costs memory or breaks a line is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wla.files import MAX_JSON_DEPTH, read_json
from wla.foreign import fill_template, one_line, path_below, shown


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    (tmp_path / "outside").mkdir()
    return tmp_path / "d"


@pytest.mark.parametrize(
    "name",
    ["../x", "a/../../x", "..", "", ".", "/", "/etc/passwd", "a\0b", "a\nb", "a\u2028b", "a\x85b", "a\ud800", "x" * 256,
     "a/" * 600],
)  # fmt: skip
def test_a_name_that_is_not_below_the_folder_is_refused(root, name):
    with pytest.raises(ValueError, match=r"^info.json: the path ") as caught:
        path_below(root, name, "info.json")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["a", "a/b.mp4", "a/b/top", "a..b", ".a", "~", "*", "[0]", "图像", "a b"])
def test_other_names_are_paths_below_the_folder(root, name):
    assert path_below(root, name, "info.json") == root / name


def test_links_out_of_the_folder_are_refused_and_others_followed(root):
    (root / "out").symlink_to("../outside")
    (root / "circle").symlink_to("circle")
    (root / "real").mkdir()
    (root / "in").symlink_to("real")
    for name in ("out", "out/x", "circle/x"):
        with pytest.raises(ValueError, match=r"leads out of .* through a symbolic link|cannot be followed"):
            path_below(root, name, "info.json")
    assert path_below(root, "in/x", "info.json") == root / "in/x"


def test_links_of_the_hub_s_cache_are_followed_into_its_own_blobs_only(tmp_path):
    snapshot = tmp_path / "datasets--a--b/snapshots/abc"
    snapshot.mkdir(parents=True)
    (snapshot / "good").symlink_to("../../blobs/123")
    (snapshot / "bad").symlink_to("../../../datasets--c--d/blobs/123")
    assert path_below(snapshot, "good", "info.json") == snapshot / "good"
    with pytest.raises(ValueError, match="leads out of"):
        path_below(snapshot, "bad", "info.json")


def test_a_template_is_filled(root):
    template = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index}.mp4"
    filled = fill_template(template, "info.json", chunk_index=7, file_index=12, video_key="a{b}")
    assert filled == "videos/a{b}/chunk-007/file-12.mp4"


@pytest.mark.parametrize(
    "template",
    [
        *("{chunk_index:>2000000000}", "{chunk_index:02000000000d}", "{chunk_index:99d}", "{chunk_index.real}"),
        *("{video_key[0]}", "{chunk_index!r}", "{chunk_index:{video_key}}", "{video_key:9}", "{other}"),
        *("{}", "{0}", "{", "}", "{chunk_index:f}"),
    ],
)
def test_a_template_does_nothing_else(template):
    with pytest.raises(ValueError, match=r"^info.json: .* is not a path template"):
        fill_template(template, "info.json", chunk_index=7, video_key="top")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "damaged JSON .nested too deeply"),
        (b'{"a":' * 200_000, "damaged JSON .nested too deeply"),
        (b'{"a":' + b"[" * (MAX_JSON_DEPTH + 1) + b"]" * (MAX_JSON_DEPTH + 1) + b"}", "nested more than 100 deep"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "damaged JSON .Exceeds the limit"),
        (b'{"a": "\\ud800"}', "contains half a character"),
        (b'{"\\udfff": 1}', "contains half a character"),
        (b'{"a": "\xff"}', "not UTF-8, invalid start byte at byte 7"),
        (b"", "damaged JSON"),
        (b"\0\0", "damaged JSON"),
        (b"[]", "is a list, not a JSON object"),
        (b"null", "is a NoneType, not a JSON object"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "is a Git LFS pointer.*git lfs pull"),
    ],
)
def test_json_that_is_not_an_object_is_refused_in_one_line(tmp_path, content, message):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_json(tmp_path / "x.json")
    assert str(caught.value).startswith(str(tmp_path / "x.json"))
    assert str(caught.value).isprintable()


def test_a_huge_file_is_not_read(tmp_path):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match=r"x.json: is larger than 256 MiB"):
        read_json(tmp_path / "x.json")


def test_texts_come_back_as_they_are(tmp_path):
    (tmp_path / "x.json").write_bytes(
        '\ufeff{"a": "\u2028\u0085 \U0001f916", "b": "\\ud83e\\udd16", "c": "\\u0000"}'.encode()
    )
    assert read_json(tmp_path / "x.json") == {"a": "\u2028\u0085 \U0001f916", "b": "\U0001f916", "c": "\0"}


def test_foreign_texts_in_messages_stay_in_one_line():
    assert one_line("a\nb\u2028c\0\ud800") == "a b c\\x00\\xd800"
    assert len(one_line("x" * 10_000)) < 400
    assert shown("a\u2028") == "'a\\u2028'"
    assert len(shown(["x" * 10_000])) < 100
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
