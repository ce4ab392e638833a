"""Checkpoints and datasets to a hub and back, through the real client against a server on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tiny
from hub_server import HubServer, hub_server
from huggingface_hub import constants

from wla.cli.main import main
from wla.compat.hub_files import belongs
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.policy.checkpoint import load_checkpoint, save_checkpoint
from wla.policy.checkpoint_files import sha256
from wla.presets.recipe import load_recipe

TOKEN = "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    with hub_server() as (hub, url):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub_cache"))
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix("https://huggingface.co")
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.chdir(tmp_path)
        yield hub


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A generation of a run: a checkpoint beside its training state, with something of its owner's."""
    generation = tmp_path / "run/steps/000002"
    save_checkpoint(tiny.checkpoint(), generation / "checkpoint")
    (generation / "training_state").mkdir()
    (generation / "training_state/state.json").write_text("{}")
    for name in ("notes.txt", "train.py", "old.pt", ".secret.json"):
        (generation / "checkpoint" / name).write_text("mine")
    (generation / "checkpoint/.cache").mkdir()
    (generation / "checkpoint/.cache/frames.json").write_text("{}")
    (tmp_path / "run/latest").write_text("000002\n")
    return tmp_path / "run"


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_a_checkpoint_goes_and_comes_back_the_same(hub, policy, capsys):
    assert run("push", policy, "me/policy", "--license", "apache-2.0") == 0
    shown = capsys.readouterr()
    assert "files uploaded, 0 removed" in shown.out
    assert "license" not in shown.out
    files = hub.files["model", "me/policy"]
    own = {"config.json", "model.safetensors", "statistics.json", "robot.json", "tokenizer.json", "README.md"}
    assert files.keys() == own
    assert b"license: apache-2.0" in files["README.md"]
    assert b"A license is not part" not in files["README.md"]
    assert run("pull", "me/policy", "--out", "pulled") == 0
    assert "policy, 6 files, license: apache-2.0" in capsys.readouterr().out
    assert {path.name for path in Path("pulled").iterdir()} == own
    assert sha256(Path("pulled")) == sha256(policy / "steps/000002/checkpoint")
    load_checkpoint(Path("pulled"))
    assert run("pull", "me/policy", "--out", "pulled") == 2
    assert "pulled: exists already" in capsys.readouterr().err


def test_a_dataset_goes_and_comes_back_the_same(hub, tmp_path, capsys):
    data = tiny.write_dataset(tmp_path / "data")
    (data / ".cache/frames").mkdir(parents=True)
    (data / ".cache/frames/front.json").write_text("{}")
    (data / "meta/.backup.json").write_text("{}")
    (data / "private.csv").write_text("mine")
    assert run("push", data, "me/data", "--private") == 0
    assert "no license is stated, so nobody else may use it" in capsys.readouterr().out
    files = hub.files["dataset", "me/data"]
    assert hub.private["dataset", "me/data"]
    assert {path.split("/")[0] for path in files} == {"meta", "data", "videos", "README.md"}
    assert not any("/." in path or path.startswith(".") for path in files)
    assert b"LeRobot" in files["README.md"]
    assert run("pull", "me/data", "--out", "pulled") == 0
    assert "dataset" in capsys.readouterr().out
    assert not list(Path("pulled").glob(".*"))
    ours, theirs = LeRobotDataset(data), LeRobotDataset(Path("pulled"))
    assert ours.episodes == theirs.episodes
    np.testing.assert_array_equal(ours.frames("front")[:], theirs.frames("front")[:])


def test_a_dataset_is_read_by_its_id_from_the_hub_s_cache(hub, tmp_path, monkeypatch, capsys):
    """A recipe keeps the id; what is downloaded is the dataset alone, and offline the copy serves."""
    data = tiny.write_dataset(tmp_path / "data", episodes=10, subtasks=False)
    (data / "meta/wla_robot.json").unlink()
    hub.files["dataset", "me/place"] = {
        **{path.relative_to(data).as_posix(): path.read_bytes() for path in data.rglob("*") if path.is_file()},
        "README.md": b"about it",
        "train.py": b"raise SystemExit",
    }
    hub.private["dataset", "me/place"] = False
    assert run("init", "me/place", "--action", "absolute", "--out", "place.py") == 0
    (config,) = load_recipe("place.py").datasets
    assert config.path == "me/place"
    assert config.robot is not None
    assert config.robot.embodiment == "toy"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (source,) = config.expand()
    np.testing.assert_array_equal(source.open().state, LeRobotDataset(data).state)
    np.testing.assert_array_equal(config.open().frames("front")[3], LeRobotDataset(data).frames("front")[3])
    assert not any(path.name in ("README.md", "train.py") for path in (tmp_path / "hub_cache").rglob("*"))
    assert run("data", "check", "me/place") == 0
    assert run("data", "stats", "me/place") == 0
    assert "place: observation.state" in capsys.readouterr().out
    assert run("data", "check", "me/other") == 2
    assert "no folder 'me/other', and the hub did not give it" in capsys.readouterr().err


def test_a_mistyped_folder_of_datasets_is_not_asked_of_the_hub(hub, tmp_path):
    tiny.write_dataset(tmp_path / "mine/place")
    for path in ("mine/plase", "datasets/place", "./me/place", "me/place/more"):
        with pytest.raises(ValueError, match="neither a LeRobot dataset"):
            DatasetConfig(path=path).expand()
    assert hub.requests == []


def test_a_card_without_front_matter_gets_some(hub, capfd):
    assert run("push", "nano-value", "me/value", "--license", "other") == 0
    shown = capfd.readouterr()
    assert "metadata block" not in shown.err
    card = hub.files["model", "me/value"]["README.md"].decode()
    assert card.startswith("---\ntags:")
    assert "\nlicense: other\n" in card


def test_a_card_that_is_not_utf8_hides_nothing(hub, policy, capsys):
    assert run("push", policy, "me/policy", "--license", "mit") == 0
    latin = hub.files["model", "me/policy"]["README.md"] + "Greifer öffnen".encode("latin-1")
    hub.files["model", "me/policy"]["README.md"] = latin
    assert run("pull", "me/policy", "--out", "pulled") == 0
    assert "policy, 6 files, license: mit" in capsys.readouterr().out
    assert Path("pulled/README.md").read_bytes() == latin
    assert run("push", "pulled", "me/other") == 2
    assert "README.md: damaged card (not UTF-8" in capsys.readouterr().err


def test_other_files_are_not_replaced_unasked(hub, policy, capsys):
    assert run("push", policy, "me/policy") == 0
    commits = hub.commits
    assert run("push", policy, "me/policy") == 0
    assert "has all of it already" in capsys.readouterr().out
    assert hub.commits == commits
    files = hub.files["model", "me/policy"]
    files["statistics.json"] = b"{}"
    files["model-00001-of-00002.safetensors"] = b"of another checkpoint"
    files["picture.png"] = b"somebody's"
    assert run("push", policy, "me/policy") == 2
    error = capsys.readouterr().err
    assert "me/policy: holds other files (statistics.json, model-00001-of-00002.safetensors); add --yes" in error
    assert hub.commits == commits
    assert run("push", policy, "me/policy", "--yes") == 0
    assert "1 files uploaded, 1 removed" in capsys.readouterr().out
    assert "picture.png" in files
    assert "model-00001-of-00002.safetensors" not in files
    assert run("push", policy, "me/policy", "--private") == 2
    assert "is there already, and public" in capsys.readouterr().err


def summary(checkpoint_sha256: str) -> str:
    episodes = {str(100_000 + k): {"outcome": "success" if k else "failure", "steps": 9} for k in range(10)}
    case = {"env": "tabletop", "task": "place", "setting": "clean", "embodiment": "gantry", "protocol": "default"}
    made = {"command": "wla eval run", "config": {"policy": "run"}, "scorer_sha256": None, "hardware": {}}
    tree = {"checkpoint_sha256": checkpoint_sha256, "cases": [case | {"episodes": episodes}]}
    return json.dumps(tree | {"versions": [{"wla": "1"}], "reproduction": made})


def test_the_card_states_results_of_this_checkpoint(hub, policy, tmp_path, capsys):
    results = tmp_path / "summary.json"
    results.write_text(summary("0" * 64))
    assert run("push", policy, "me/policy", "--results", results) == 2
    assert "summary.json: is of a checkpoint with sha256 000000000000" in capsys.readouterr().err
    assert not hub.files
    results.write_text(summary(sha256(policy / "steps/000002/checkpoint")))
    for _ in range(2):  # results replace earlier ones
        assert run("push", policy, "me/policy", "--results", results, "--yes") == 0
    card = hub.files["model", "me/policy"]["README.md"].decode()
    assert card.count("| place | clean | 90.0 | 55.5 .. 99.7 | 10 | 100000 to 100009 |") == 1
    assert "`wla eval run`" in card
    assert "Its success rate is not part" not in card


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_token_is_never_shown(hub, policy, capfd, caplog, status):
    """Also not where a server repeats it, and not in a traceback."""
    hub.refuse = status
    assert run("push", policy, "me/policy", "--traceback") != 0
    assert run("pull", "me/policy", "--out", "pulled", "--traceback") != 0
    assert any(TOKEN in authorization for _, _, authorization in hub.requests)
    shown = capfd.readouterr()
    assert "me/policy: the hub did not take part" in shown.err
    assert TOKEN not in shown.out + shown.err + caplog.text
    assert not Path("pulled").exists()


def test_what_cannot_be_shared_is_one_line(hub, policy, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    hub.files["model", "me/other"] = {"../evil.json": b"{}", "code.py": b"", "README.md": b"# other"}
    hub.private["model", "me/other"] = False
    for words, message in (
        (("push", tmp_path / "empty", "me/policy"), "neither a checkpoint"),
        (("push", tmp_path / "nowhere", "me/policy"), "no such folder"),
        (("push", policy, "policy"), "is not an id on the hub; give OWNER/NAME"),
        (("pull", "me/nothing", "--out", "pulled"), "me/nothing: the hub did not take part"),
        (("pull", "me/other", "--out", "pulled"), "holds neither a checkpoint nor a dataset"),
    ):
        assert run(*words) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.splitlines()[-1].count("wla: error:") == 1  # after a progress bar
    assert not Path("pulled").exists()
    assert not (tmp_path.parent / "evil.json").exists()


@pytest.mark.parametrize(
    "path",
    ["../x.json", "/x.json", "meta/../../x.json", ".x.json", "meta/.x.json", "data/x.py", "a\\x.json", "x.pt", ""],
)
def test_nothing_hidden_foreign_or_outside_belongs(path):
    assert not belongs("dataset", path)
    assert not belongs("model", path)
