"""Interrupted writes: the file or folder before the write is still complete."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from full_disk import full_disk

from wla import files
from wla.files import atomic_dir, atomic_write_text, disk_errors, read_json, recover


def write(folder: Path, text: str) -> None:
    with atomic_dir(folder, replaces=("a",)) as fresh:
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


def without_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot exchange two folders."""
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)


@pytest.mark.parametrize("recovery", ["recover", "write again"])
def test_a_kill_between_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovery: str
) -> None:
    folder = tmp_path / "d"
    write(folder, "old")
    rename = os.rename

    def killed(source: Path, target: Path) -> None:
        if target == folder:
            raise SystemExit
        rename(source, target)

    without_exchange(monkeypatch)
    monkeypatch.setattr(files.os, "rename", killed)
    with pytest.raises(SystemExit):
        write(folder, "new")
    monkeypatch.undo()
    assert not folder.exists()
    if recovery == "recover":
        recover(folder)
    else:
        with pytest.raises(RuntimeError), atomic_dir(folder, replaces=("a",)):
            raise RuntimeError
    assert (folder / "a").read_text() == "old"


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_as_often_as_it_is_written(tmp_path, monkeypatch, exchange):
    if not exchange:
        without_exchange(monkeypatch)
    for text in ("1", "2", "3"):
        write(tmp_path / "d", text)
        assert (tmp_path / "d" / "a").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_folder_is_never_absent_while_it_is_replaced(tmp_path):
    """On this system folders are exchanged at once; a reader that looks all the time never misses one."""
    write(tmp_path / "d", "old")
    done = threading.Event()
    missed: list[bool] = []

    def look() -> None:
        while not done.is_set():
            missed.append(not (tmp_path / "d" / "a").exists())

    with ThreadPoolExecutor(1) as pool:
        job = pool.submit(look)
        for number in range(50):
            write(tmp_path / "d", str(number))
        done.set()
        job.result()
    assert missed
    assert not any(missed)


def test_symbolic_links_stay_links(tmp_path):
    elsewhere = tmp_path / "other disk"
    elsewhere.mkdir()
    (tmp_path / "d").symlink_to(elsewhere / "d")
    (tmp_path / "t").symlink_to(elsewhere / "t")
    for text in ("1", "2", "3"):
        write(tmp_path / "d", text)
        atomic_write_text(tmp_path / "t", text)
        assert (elsewhere / "d" / "a").read_text() == (elsewhere / "t").read_text() == text
    assert (tmp_path / "d").is_symlink()
    assert (tmp_path / "t").is_symlink()


def test_files_that_a_writer_does_not_know_are_never_replaced(tmp_path):
    write(tmp_path / "d", "old")
    (tmp_path / "d" / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"d: holds notes.txt, which saving would remove; save to a new folder"):
        write(tmp_path / "d", "new")
    assert (tmp_path / "d" / "a").read_text() == "old"
    with pytest.raises(ValueError, match="holds mine"), atomic_dir(tmp_path / "e"):
        (tmp_path / "e" / "mine").mkdir(parents=True)  # meanwhile
    assert (tmp_path / "e" / "mine").exists()
    with pytest.raises(ValueError, match="is a file"):
        write(tmp_path / "d" / "a", "new")


def test_writers_of_one_target_do_not_share_their_staging(tmp_path):
    with atomic_dir(tmp_path / "d", replaces=("a",)) as one, atomic_dir(tmp_path / "d", replaces=("a",)) as other:
        (one / "a").write_text("1")
        (other / "a").write_text("2")
        assert (one / "a").read_text() == "1"
    assert (tmp_path / "d" / "a").read_text() == "1", "the one that ended last"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_what_a_killed_writer_left_is_removed_and_that_of_a_living_one_stays(tmp_path):
    (tmp_path / ".d.abc.writing").mkdir()
    (tmp_path / ".d.abc.writing" / "a").touch()
    with atomic_dir(tmp_path / "d", replaces=("a",)) as fresh:
        assert not (tmp_path / ".d.abc.writing").exists()
        write(tmp_path / "d", "another writer's")
        assert fresh.exists()


def test_the_error_for_a_read_only_folder_is_one_line_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = r"out: cannot write \(.*Not a directory.*file/out'\); choose another"
    with pytest.raises(ValueError, match=line), disk_errors(Path("out"), "choose another"):
        (tmp_path / "file" / "out").mkdir()


def test_a_failed_rename_leaves_the_old_folder_and_no_temporary_one(tmp_path, monkeypatch):
    write(tmp_path / "run", "kept")
    real = os.rename

    def failing(source, target) -> None:
        if Path(target).name == "run" and Path(source).parent.name.endswith(".writing"):
            raise OSError("no")
        real(source, target)

    without_exchange(monkeypatch)
    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(OSError, match="no"):
        write(tmp_path / "run", "lost")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "a").read_text() == "kept"


def test_reading_json_returns_the_object_or_an_error_that_names_the_problem(tmp_path):
    path = tmp_path / "a.json"
    for content, line in ((None, "is not here"), ("{", "damaged JSON"), ("[]", "is a list, not a JSON object")):
        if content is not None:
            path.write_text(content)
        with pytest.raises(ValueError, match=line):
            read_json(path, missing="is not here")
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
