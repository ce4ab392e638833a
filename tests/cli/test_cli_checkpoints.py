"""Checkpoints of others, as the commands are called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import published_release
import pytest
import tiny
from published_release import OFFICIAL, Release
from safetensors.torch import load_file, save_file

from wla.cli import main as cli
from wla.policy.checkpoint import save_checkpoint


def wla(*words: object) -> int:
    """Exit code of the command line in this process."""
    return cli.main([str(word) for word in words])


@pytest.fixture
def release(tmp_path) -> Release:
    return published_release.write_release(tmp_path / "release")


def folders(release: Release) -> list[object]:
    return [release.checkpoint, "--vlm", release.vlm, "--sana", release.sana]


def test_import_export_import(release, tmp_path, capsys):
    assert wla("import", *folders(release), "--out", tmp_path / "ours") == 0
    assert capsys.readouterr().out == f"checkpoint: {tmp_path / 'ours'}, for libero_panda\n"
    assert wla("export", tmp_path / "ours", "--out", tmp_path / "published") == 0
    assert capsys.readouterr().out == f"published layout: {tmp_path / 'published'}\n"
    # An export needs nothing beside it: it brings tokenizer and statistics along.
    assert wla("import", tmp_path / "published", "--out", tmp_path / "again") == 0
    assert "cannot act" not in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "ours").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        same = (tmp_path / "ours" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
        assert same, name
    assert json.loads((tmp_path / "published" / "norm_stats.json").read_text()).keys() == {"libero_panda"}


def test_what_an_import_lacks_is_printed(release, tmp_path, capsys):
    (release.checkpoint / "norm_stats.json").unlink()
    (release.vlm / "tokenizer.json").unlink()
    assert wla("import", *folders(release), "--out", tmp_path / "ours") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("cannot act yet, lacks tokenizer.json: ")
    assert lines[2].startswith("cannot act yet, lacks statistics.json: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--vlm", "nowhere/at/all"], "no vision-language model 'nowhere/at/all'"),
        (["--preset", "wla1"], "--preset: Input should be 'wla0_libero'"),
        (["--entry", "robotwin"], "no entry 'robotwin'"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(words, message, release, tmp_path, capsys):
    assert wla("import", *folders(release), *words, "--out", tmp_path / "ours") == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_an_unknown_checkpoint_is_named(tmp_path, capsys):
    assert wla("import", tmp_path / "none", "--out", tmp_path / "ours") == 2
    assert "no checkpoint" in capsys.readouterr().err


def test_out_must_be_given(release, capsys):
    assert wla("import", release.checkpoint) == 2
    assert "--out" in capsys.readouterr().err


def test_a_nano_policy_is_not_exported(tmp_path, capsys):
    save_checkpoint(tiny.checkpoint(), tmp_path / "nano")
    assert wla("export", tmp_path / "nano", "--out", tmp_path / "published") == 2
    assert "only models with the Qwen3-VL backbone have a published layout" in capsys.readouterr().err
    assert wla("export", tmp_path, "--out", tmp_path / "published") == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "published").exists()


def test_parity_prints_a_line_for_each_output_and_exits_with_1_when_one_is_off(tmp_path, capsys):
    assert wla("parity", OFFICIAL) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[-2].split() == ["export", "0", "tensors", "changed", "ok"]
    assert lines[-1] == "all within 0.0001"
    folder = Path(shutil.copytree(OFFICIAL, tmp_path / "off"))
    outputs = load_file(folder / "outputs.safetensors")
    outputs["action_chunk"][0, 0, 0] += 0.5
    save_file(outputs, folder / "outputs.safetensors")
    assert wla("parity", folder) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "wrong: action_chunk"
    assert wla("parity", folder, "--tolerance", "0.6") == 0


@pytest.mark.parametrize("words", [["--tolerance", "0"], ["--tolerance", "-1"], ["--tolerance", "nan"]])
def test_a_tolerance_must_be_positive(words, capsys):
    assert wla("parity", OFFICIAL, *words) == 2
    error = capsys.readouterr().err
    assert "tolerance" in error
    assert len(error.strip().splitlines()) == 1


def test_a_parity_folder_without_numbers_is_named(release, capsys):
    assert wla("parity", release.checkpoint) == 2
    assert "inputs.safetensors: file is missing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["import", "export", "parity"])
def test_help_needs_no_torch(name):
    code = (
        f"import sys; from wla.cli.main import main; main(['{name}', '--help'])\n"
        "print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
