"""The tools around datasets, as they are called."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tiny

from wla.cli import main as cli
from wla.cli.data import DATA
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.published_statistics import read_published
from wla.specs import RobotSpec


def wla(*words: object) -> int:
    """Exit code of the command line in this process."""
    return cli.main([str(word) for word in words])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    return tiny.write_dataset(tmp_path_factory.mktemp("data") / "place")


@pytest.fixture
def dataset(pristine, tmp_path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "place"))


def test_the_help_of_the_group_lists_its_commands(capsys):
    assert wla("data", "--help") == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in DATA.commands)
    assert wla("data") == 2
    assert capsys.readouterr().out == text


def test_a_robot_file_is_written_once(dataset, capsys):
    own = RobotSpec.load(dataset / "meta/wla_robot.json")
    assert wla("data", "robot", dataset, "--kind", "delta") == 2
    assert "meta/wla_robot.json: exists already" in capsys.readouterr().err
    (dataset / "meta/wla_robot.json").unlink()
    assert wla("data", "check", dataset) == 0
    assert "wla data robot" in capsys.readouterr().out
    assert wla("data", "robot", dataset, "--kind", *["delta"] * 3) == 2
    assert f"3 kinds for {own.action.dim} dimensions; give one for all, or one for each" in capsys.readouterr().err
    kinds = own.action.kinds
    assert (
        wla("data", "robot", dataset, "--kind", *kinds, "--units", "m", "--frame", "world", "--cameras", "wrist") == 0
    )
    written = LeRobotDataset(dataset).require_robot()
    assert (written.action.kinds, written.action.names, written.action.rate_hz) == (
        own.action.kinds,
        own.action.names,
        own.action.rate_hz,
    )
    assert set(written.action.units) == {"m"}
    assert written.observation.cameras == own.observation.cameras
    assert written.observation.primary_camera == "wrist"
    assert wla("data", "check", dataset) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(DATA.commands))
def test_every_command_of_the_group_has_examples_in_its_help(name, capsys):
    assert wla("data", name, "--help") == 0
    text = capsys.readouterr().out
    assert f"\n  wla data {name}" in text.partition("examples:")[2]
    assert f"usage: wla data {name}" in text


def test_help_needs_neither_torch_nor_pyarrow():
    code = (
        "import sys; from wla.cli.main import main; main(['data', '--help']); "
        "print({'torch', 'pyarrow', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data", "mend"],
            "no command 'data mend'; there are convert, from-videos, label-actions, check, cache-latents, clear-cache,",
        ),
        (["data", "convert", "nowhere", "--out", "OUT"], "nowhere: no such folder; correct the path"),
        (["data", "convert", "DATA", "--out", "OUT"], "place: is LeRobot v3.0 already"),
        (["data", "convert", "DATA", "--out", "OUT", "--fps", "0"], "--fps: Input should be greater than 0"),
        (["data", "check", "nowhere"], "nowhere: no such dataset; correct the path"),
        (["data", "stats", "nowhere"], "nowhere: no such dataset; correct the path"),
        (["data", "stats", "DATA", "--state", "qpos"], "feature 'qpos' is missing"),
        (["data", "stats", "DATA", "DATA"], "two of the datasets have folders of the same name; give --name"),
        (["data", "stats", "DATA", "--out", "FILE/stats.json"], "stats.json: cannot write"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(words, message, dataset, tmp_path, capsys):
    (tmp_path / "file").touch()
    places = {"OUT": tmp_path / "out", "DATA": dataset, "FILE/stats.json": tmp_path / "file" / "stats.json"}
    assert wla(*[places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wla: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_missing_options_are_named(capsys):
    assert wla("data", "convert", "x") == 2
    assert "wla data convert --help" in capsys.readouterr().err


def test_check_says_that_all_is_well(dataset, capsys):
    assert wla("data", "check", dataset) == 0
    assert capsys.readouterr().out == f"{dataset}: 0 errors, 0 warnings\n"


def test_warnings_are_shown_and_errors_make_the_exit_code_1(dataset, capsys):
    path = dataset / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    texts = ["", *table["subtask_text"].to_pylist()[1:]]
    at = table.column_names.index("subtask_text")
    pq.write_table(table.set_column(at, "subtask_text", [texts]), path)
    assert wla("data", "check", dataset) == 0
    text = capsys.readouterr().out
    assert "1 of 10 frames have no subtask_text" in text
    assert text.endswith("0 errors, 1 warnings\n")
    (dataset / "videos/observation.images.front/chunk-000/file-000.mp4").unlink()
    assert wla("data", "check", dataset) == 1
    text = capsys.readouterr().out
    assert "video file is missing" in text
    assert text.index("video file is missing") < text.index("have no subtask_text")
    assert text.endswith("1 errors, 1 warnings\n")


def test_stats_are_printed_and_written(dataset, tmp_path, capsys):
    other = tiny.write_dataset(tmp_path / "videos", with_actions=False)
    out = tmp_path / "stats.json"
    assert wla("data", "stats", dataset, other, "--out", out) == 0
    text = capsys.readouterr().out
    assert "place: observation.state, 20 frames" in text
    assert "place: action, 20 frames" in text
    assert "videos: action" not in text
    assert [name in text for name in ("dx", "gripper", "width")] == [True] * 3
    assert list(json.loads(out.read_text())) == ["place", "videos"]
    statistics = read_published(out, "place", state_dim=tiny.STATE, action_dim=tiny.ACTION)
    assert statistics.action is not None
    assert f"{statistics.action.max[0]:.4g}" in text
    assert read_published(out, "videos").action is None
    assert wla("data", "stats", dataset, other, "--name", "both", "--out", out) == 0
    assert "both: observation.state, 40 frames" in capsys.readouterr().out
    assert list(json.loads(out.read_text())) == ["place", "videos", "both"]


def test_convert_names_the_next_step(tmp_path, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr("wla.compat.convert.convert", lambda *words, **options: asked.append((words, options)) or 7)
    assert wla("data", "convert", tmp_path, "--out", tmp_path / "new", "--action", "endpose", "--fps", "20") == 0
    options = {"layout": None, "action": "endpose", "fps": 20.0, "task": None}
    assert asked == [((tmp_path, tmp_path / "new"), options)]
    text = capsys.readouterr().out
    assert text == f"{tmp_path / 'new'}: 7 episodes\n"
