"""Names of a run's checkpoints, and readers beside a training that saves."""

from __future__ import annotations

from pathlib import Path

import pytest

from wla.run_folder import (
    BEST,
    CHECKPOINT,
    LATEST,
    STATE,
    checkpoint_folder,
    generations,
    latest_step,
    move_pointer,
    prune,
    publish,
    read_checkpoint,
    stage_of,
    state_folder,
)


def save(run: Path, step: int, keep: int = 2) -> Path:
    stage = stage_of(run, step)
    for name in (CHECKPOINT, STATE):
        (stage / name).mkdir(parents=True)
        (stage / name / "step").write_text(str(step))
    generation = publish(run, stage)
    prune(run, keep)
    return generation


def steps(run: Path) -> list[int]:
    return [int(path.name) for path in generations(run)]


def test_every_name_of_a_checkpoint_leads_to_a_generation(tmp_path):
    run = tmp_path / "run"
    first = save(run, 100)
    move_pointer(run, first, BEST)
    second = save(run, 200)
    assert latest_step(run) == 200
    assert state_folder(run) == second / STATE
    for name in (run, run / "checkpoint", run / "latest", second, second / "checkpoint"):
        assert checkpoint_folder(name) == second / "checkpoint"
    for name in (run / "best", first, first / "checkpoint"):
        assert checkpoint_folder(name) == first / "checkpoint"
    (tmp_path / "link").symlink_to(run)
    for number in (300, 400):
        save(tmp_path / "link", number)
        assert (checkpoint_folder(tmp_path / "link") / "step").read_text() == str(number)
    for other in (tmp_path, tmp_path / "absent", tmp_path / "absent" / "checkpoint"):
        assert checkpoint_folder(other) == other


def test_old_generations_go_unless_a_pointer_names_them(tmp_path):
    move_pointer(tmp_path, save(tmp_path, 1), BEST)
    for number in range(2, 6):
        save(tmp_path, number)
    assert steps(tmp_path) == [1, 4, 5]
    save(tmp_path, 10**6, keep=1)
    assert steps(tmp_path) == [1, 10**6]
    notes = tmp_path / "steps" / "000007"
    notes.mkdir()
    (notes / "notes.txt").touch()
    save(tmp_path, 10**6 + 1, keep=1)
    assert (notes / "notes.txt").exists(), "not a generation"
    assert sorted(path.name for path in (tmp_path / "steps").iterdir()) == ["000001", "000007", "1000001"]


def test_a_run_that_was_set_back_goes_on_from_there(tmp_path):
    for number in (1, 2, 3):
        save(tmp_path, number, keep=3)
    (tmp_path / "latest").write_text("000002\n")
    assert checkpoint_folder(tmp_path).parent.name == "000002"
    save(tmp_path, 3)
    assert steps(tmp_path) == [2, 3]


def test_a_pointer_to_nothing_is_named(tmp_path):
    save(tmp_path, 1)
    for text in ("000009", "", "../elsewhere"):
        (tmp_path / "latest").write_text(text)
        with pytest.raises(ValueError, match=r"latest: names '.*', and .*steps has 000001; write one of these into it"):
            checkpoint_folder(tmp_path)


def test_a_reader_whose_generation_is_removed_reads_the_next_one(tmp_path):
    save(tmp_path, 1)
    seen = []

    def read(folder: Path) -> str:
        seen.append(folder.parent.name)
        if len(seen) == 1:
            save(tmp_path, 2, keep=1)
        return (folder / "step").read_text()

    assert read_checkpoint(lambda: checkpoint_folder(tmp_path), read) == "2"
    assert seen == ["000001", "000002"]

    def damaged(folder: Path) -> None:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        read_checkpoint(lambda: checkpoint_folder(tmp_path), damaged)
    with pytest.raises(FileNotFoundError):
        read_checkpoint(lambda: tmp_path / "absent", lambda folder: (folder / "step").read_text())


def test_the_pointer_moves_only_to_a_generation_that_is_there(tmp_path, monkeypatch):
    def cut(source, target):
        raise OSError("no more of the disk")

    monkeypatch.setattr("wla.run_folder.move_dir", cut)
    stage = stage_of(tmp_path, 1)
    (stage / CHECKPOINT).mkdir(parents=True)
    (stage / STATE).mkdir()
    with pytest.raises(OSError, match="no more of the disk"):
        publish(tmp_path, stage)
    assert not (tmp_path / LATEST).exists()
