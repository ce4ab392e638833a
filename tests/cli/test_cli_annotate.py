"""`wla annotate` as it is called: one source, all episodes or none, and a way out of each mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from full_disk import full_disk
from motions import CARRY, PICK, RELEASE, write

from wla.cli import main as cli
from wla.data.lerobot.reader import LeRobotDataset

TEXTS = ("grasp the red block", "move to the bowl", "reach the red block", "release the red block")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    recordings = [("put the red block in the bowl", [*PICK, *CARRY, *RELEASE])] * 2
    return write(tmp_path_factory.mktemp("data") / "d", recordings)


@pytest.fixture
def root(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "d"))


def wla(*words: object) -> int:
    return cli.main([str(word) for word in words])


def files(root: Path) -> dict[str, bytes]:
    found = (path for path in root.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in found}


def complaint(capsys) -> str:
    return capsys.readouterr().err


def test_rules_then_a_correction_by_hand(root, tmp_path, capsys):
    before = files(root)
    assert (
        wla(
            "annotate", root, "--rules", "--dry-run", "--csv-out", tmp_path / "l.csv", "--html-out", tmp_path / "p.html"
        )
        == 0
    )
    assert files(root) == before
    assert wla("annotate", root, "--rules") == 0
    assert "8 segments, 32 of 32 frames have a subtask" in capsys.readouterr().out
    assert LeRobotDataset(root).subtask_texts == TEXTS
    corrected = (tmp_path / "l.csv").read_text("utf-8").replace("grasp the red block", "roten Würfel greifen")
    (tmp_path / "l.csv").write_text(corrected, encoding="utf-8")
    assert wla("annotate", root, "--csv", tmp_path / "l.csv") == 2
    assert "has subtasks already; --replace replaces them all" in complaint(capsys)
    assert wla("annotate", root, "--csv", tmp_path / "l.csv", "--replace") == 0
    assert "roten Würfel greifen" in LeRobotDataset(root).subtask_texts
    assert wla("annotate", root, "--rules", "--compare") == 0
    assert "all: 93.8 % (30/32)" in capsys.readouterr().out
    assert wla("annotate", root, "--csv-out", tmp_path / "again.csv") == 0
    assert (tmp_path / "again.csv").read_text("utf-8") == corrected


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "give a source, --rules, --endpoint or --csv"),
        (["--rules", "--csv", "x.csv"], "--rules and --csv: labels come from one source"),
        (["--compare"], "nothing to try"),
        (["--rules", "--dry-run"], "--dry-run shows nothing by itself"),
        (["--csv", "x.csv", "--templates", "t.toml"], "--templates belongs to --rules"),
        (["--endpoint", "http://localhost:1/v1"], "--endpoint and --model belong together"),
        (["--rules", "--api-key-env", "KEY"], "--api-key-env belongs to --endpoint"),
        (["--rules", "--single-file"], "--single-file belongs to --html-out"),
        (["--csv", "x.csv"], "x.csv: no such CSV file"),
    ],
)
def test_options_that_do_not_go_together(root, capsys, words, why):
    before = files(root)
    assert wla("annotate", root, *words) == 2
    error = complaint(capsys)
    assert why in error
    assert error.count("\n") == 1
    assert files(root) == before


def test_a_csv_with_a_mistake_changes_nothing(root, tmp_path, capsys):
    before = files(root)
    (tmp_path / "l.csv").write_text("episode,first_frame,last_frame,text\n0,0,5,a\n0,5,9,b\n", encoding="utf-8")
    assert wla("annotate", root, "--csv", tmp_path / "l.csv") == 2
    assert "line 3: frames 5 .. 9 of episode 0 overlap 0 .. 5" in complaint(capsys)
    (tmp_path / "l.csv").write_text("episode,first_frame,last_frame,text\n", encoding="utf-8")
    assert wla("annotate", root, "--csv", tmp_path / "l.csv") == 2
    assert "no segments to write; nothing was changed" in complaint(capsys)
    assert files(root) == before


def test_an_annotation_is_undone(root, capsys):
    before = files(root)
    assert wla("annotate", root, "--rules", "--language-columns") == 0
    output = capsys.readouterr().out
    assert "LeRobot before 0.5 cannot open it" in output
    assert f"to restore it: wla annotate {root} --undo" in output
    assert wla("annotate", root, "--undo", "--rules") == 2
    assert "--undo stands alone, without --rules" in complaint(capsys)
    assert wla("annotate", root, "--undo") == 0
    assert files(root) == before
    assert wla("annotate", root, "--undo") == 2
    assert "nothing to undo" in complaint(capsys)


def test_an_older_dataset_gets_the_command_that_converts_it(root, capsys):
    info = json.loads((root / "meta/info.json").read_text("utf-8"))
    (root / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}), encoding="utf-8")
    assert wla("annotate", root, "--rules") == 2
    assert "convert it with `wla data convert" in complaint(capsys)


def test_a_full_disk_leaves_the_dataset_as_it_was(root, capsys):
    before = files(root)
    with full_disk(1000):
        assert wla("annotate", root, "--rules") == 2
    assert "nothing was changed, free disk space and run again" in complaint(capsys)
    assert files(root) == before
