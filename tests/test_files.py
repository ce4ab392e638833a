"""Interrupted writes: the file or folder before the write is still complete."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from full_disk import full_disk

from wla import files
from wla.files import atomic_dir, atomic_write_text, disk_errors, read_json, recover


def write(folder: Path, text: str) -> None:
    with atomic_dir(folder) as fresh:
        (fresh / "a").write_text(text)


def test_a_full_disk_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write_text(path, "old")
    with full_disk(10), pytest.raises(OSError, match="File too large"):
        atomic_write_text(path, "new" * 100)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_keeps_the_old_folder(tmp_path: Path) -> None:
    write(tmp_path / "d", "old")
    with full_disk(10), pytest.raises(OSError, match="File too large"):
        write(tmp_path / "d", "new" * 100)
    assert (tmp_path / "d" / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("recovery", ["recover", "write again"])
def test_a_kill_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovery: str
) -> None:
    folder = tmp_path / "d"
    write(folder, "old")
    replace = files.os.replace

    def killed(source: Path, target: Path) -> None:
        if target == folder:
            raise SystemExit
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", killed)
    with pytest.raises(SystemExit):
        write(folder, "new")
    monkeypatch.undo()
    assert not folder.exists()
    if recovery == "recover":
        recover(folder)
    else:
        with pytest.raises(RuntimeError), atomic_dir(folder):
            raise RuntimeError
    assert (folder / "a").read_text() == "old"


def test_the_error_for_a_read_only_folder_is_one_line_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = r"out: cannot write \(.*Not a directory.*file/out'\); choose another"
    with pytest.raises(ValueError, match=line), disk_errors(Path("out"), "choose another"):
        (tmp_path / "file" / "out").mkdir()


def test_a_failed_rename_leaves_the_old_folder_and_no_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_text("kept")
    real = os.replace

    def failing(source, target) -> None:
        if Path(source).name == ".run.writing":
            raise OSError("no")
        real(source, target)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OSError, match="no"), atomic_dir(tmp_path / "run") as fresh:
        (fresh / "new").write_text("lost")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "old").read_text() == "kept"


def test_reading_json_returns_the_object_or_an_error_that_names_the_problem(tmp_path):
    path = tmp_path / "a.json"
    for content, line in ((None, "is not here"), ("{", "damaged JSON"), ("[]", "is a list, not a JSON object")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ValueError, match=line):
            read_json(path, missing="is not here")
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
