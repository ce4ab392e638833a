"""Wrong names end at once, in one line that leads on, and without the libraries that take seconds to load."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from wla.cli import main as cli
from wla.cli.command import Command, Group
from wla.cli.commands import COMMANDS
from wla.policy.hub import find
from wla.presets.names import PRESETS
from wla.presets.wla0 import presets

WRONG = (
    "bench act --policy nano-tabltop",
    "train nosuch",
    "train nano_tabletp",
    "train nano_tabletop --hlp",
    "train nowhere/mine.py",
    "ablate nosuch --out OUT",
    "estimate nosuch",
    "eval nosuch --out OUT",
    "eval nano-tabltop --out OUT",
    "eval nano-base --out OUT",
    "eval expert --tasks plce --out OUT",
    "eval expert --setting randomised --out OUT",
    "eval expert --embodiment scarra --out OUT",
    "eval expert --env tabletpo --out OUT",
    "eval nano-tabletop --num-candidates 2 --value nosuch --out OUT",
    "eval nano-tabletop --num-candidates 2 --goal nosuch.png --out OUT",
    "demo --policy nosuch",
    "collect --tasks plce --out OUT",
    "collect --policy nosuch --out OUT",
    "report nosuch",
    "eval-offline nosuch --dataset OUT",
    "eval-offline nano-tabletop --dataset nosuch",
    "eval-world nano-tabletop --dataset nosuch --out OUT",
    "eval-value nosuch --datasets nosuch --out OUT",
    "eval-value nano-value --datasets nosuch --out OUT",
    "record-memory nano-memory --dataset nosuch --out OUT.parquet",
    "annotate nosuch --rules",
    "convert nosuch --out OUT",
    "import nosuch --out OUT",
    "import . --preset nosuch --out OUT",
    "export nosuch --out OUT",
    "parity nosuch",
    "serve nosuch",
    "push nosuch me/mine",
    "pull nosuch --out OUT",
    "compare-runs nosuch other",
    "init --env Nosuch-v3 --out OUT.toml",
    "doctor --fixx",
    "list recipies",
    "list tasks --env tabletpo",
    "data check nosuch",
    "run nosuch --robot tabletop:place",
    "record nosuch --robot tabletop:place --out OUT",
    "score OUT --policy any --robot any --task any --outcomes nosuch",
    "watch nosuch",
    "data cache-latents nosuch --codec nano-tabletop",
    "data clear-cache nosuch",
    "data stats nosuch",
    "data view nosuch --out OUT",
    "data robot nosuch --kind absolute",
    "data convert nosuch --out OUT",
    "data from-videos nosuch --out OUT",
    "data label-actions nosuch --dataset nosuch --out OUT.parquet",
)
SCRIPT = """
import contextlib, io, json, sys
from wla.cli.main import main
rows = []
for line in json.load(sys.stdin):
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        code = main(line.split())
    rows.append([line, code, error.getvalue(), "torch" in sys.modules])
print(json.dumps(rows))
"""


def test_a_wrong_name_is_one_line_that_does_not_wait_for_torch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(WRONG),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    for line, code, error, torch in json.loads(done.stdout):
        assert (code, torch) == (2, False), line
        assert error.startswith("wla: error: "), line
        assert error.count("\n") == 1, line
    assert not list(tmp_path.iterdir())


def test_every_command_is_tried_with_a_wrong_name() -> None:
    names: set[str] = set()
    for name, command in COMMANDS.items():
        match command:
            case Command():
                names.add(name)
            case Group():
                names |= {f"{name} {each}" for each in command.commands}
    assert {name for name in names if not any(line.startswith(f"{name} ") for line in WRONG)} == set()


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train nano_tabletp", "did you mean 'nano_tabletop'?"),
        ("eval nano-tabltop --out OUT", "did you mean 'nano-tabletop'?"),
        ("eval exprt --out OUT", "did you mean 'expert'?"),
        ("eval mine/chekpoint --out OUT", "did you mean 'mine/checkpoint'?"),
        ("eval nano-value --out OUT", "nano-value is not a policy but a value model; bundled ones are nano-memory"),
        ("eval-value nano-tabletop --datasets mine --out OUT", "not a value model but a policy; bundled is nano-value"),
        ("eval expert --tasks plce --out OUT", "did you mean 'place'?"),
        ("eval expert --setting randomised --out OUT", "did you mean 'randomized'?"),
        ("eval expert --embodiment scarra --out OUT", "did you mean 'scara'?"),
        ("data check miine", "miine: no such dataset; did you mean 'mine'?"),
        ("train ablate_world", "run it with `wla ablate ablate_world --out FOLDER`"),
        ("ablate nano_tabletop --out OUT", "run it with `wla train nano_tabletop`"),
    ],
)
def test_the_message_leads_on(
    line: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine" / "checkpoint").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    assert hint in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_only_names_that_cannot_be_local_are_asked_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("owner/pick") is None
    Path("owner").mkdir()
    with pytest.raises(ValueError, match="no policy 'owner/pick'"):
        find("owner/pick")


@pytest.mark.parametrize(
    "line",
    [
        "data robot owner/pick --kind absolute --out pick.robot.json",
        "data label-actions model --dataset owner/pick --out pick.parquet",
        "annotate owner/pick --rules --dry-run --html-out page.html",
        "annotate owner/pick --csv-out labels.csv",
        "record-memory nano-memory --dataset owner/pick --out pick.parquet",
        "eval-value nano-value --datasets owner/pick --out out",
    ],
)
def test_datasets_that_are_only_read_come_from_the_hub(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = list[str]()
    monkeypatch.setattr("wla.data.hub_snapshots.snapshot", lambda name, **_: asked.append(name) or tmp_path / "none")
    monkeypatch.setattr("wla.cli.data.find", lambda *_: None)
    assert cli.main(line.split()) == 2
    assert asked == ["owner/pick"]


@pytest.mark.parametrize(
    "line", ["data robot owner/pick --kind absolute", "annotate owner/pick --rules", "annotate owner/pick --undo"]
)
def test_datasets_of_the_hub_are_not_changed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(line.split()) == 2
    assert "wla pull owner/pick --out datasets/pick" in capsys.readouterr().err


def test_the_names_of_presets_are_theirs() -> None:
    assert tuple(presets()) == PRESETS
