"""Every command ends with the commands that make sense next, which the real parser takes as they are printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_lines import commands, examples, parse_line

from wla.cli.next_steps import BUNDLED_ROBOT, NEXT_STEPS, line, print_next_steps
from wla.policy.hub import CONFIG_FILES, bundled
from wla.presets.recipe import load_recipe

ENDS = {
    "serve": "runs until it is stopped, and says where it listens",
    "watch": "runs until it is stopped, and says where its page is",
    "list": "its sections name the commands that take the names",
    "report": "a page to look at",
    "bench": "figures to look at",
    "data cache-latents": "training reads them",
    "data clear-cache": "what is removed comes back by itself",
    "data view": "a page to look at",
    "export": "the published layout is for other programs",
    "parity": "a test",
}
"""Commands that nothing follows, and why."""
NAME = "it's mine & yours"
"""Name of a folder that a shell would take apart."""


def following(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[tuple[str, Any]]:
    """The commands that are printed after one, as the parser understands them."""
    print_next_steps(*parse_line(words))
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = [shlex.split(each) for each in printed.err.splitlines()[1:]]
    assert all(words[0] == "wla" for words in lines)
    return [parse_line(words[1:]) for words in lines]


def test_every_command_has_a_next_one_or_is_an_end() -> None:
    assert {name for name, _ in commands()} == NEXT_STEPS.keys() | ENDS.keys()
    assert not NEXT_STEPS.keys() & ENDS.keys()


@pytest.mark.parametrize("name", sorted(NEXT_STEPS))
def test_the_next_commands_of_every_example_are_commands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in examples(dict(commands())[name]):
        if "--help" not in words:
            assert following(words, capsys)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """The files of a dataset that next steps are chosen by."""
    meta = tmp_path / NAME / "meta"
    meta.mkdir(parents=True)
    (meta / "info.json").write_text(json.dumps({"features": {"subtask_text": {}}}))
    (meta / "wla_robot.json").write_text(json.dumps({"embodiment": BUNDLED_ROBOT}))
    return tmp_path / NAME


def test_a_dataset_of_the_bundled_robot_is_trained_on(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = following(["collect", "--out", str(dataset)], capsys)
    assert [name for name, _ in found] == ["data check", "train"]
    assert found[0][1].dataset == dataset
    config = load_recipe(found[1][1].recipe).override(found[1][1].overrides)
    assert [each.path for each in config.datasets] == [str(dataset)]
    assert (found[1][1].out.name, config.init.policy) == (NAME, "nano-tabletop")


def test_a_held_out_dataset_is_evaluated_on(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["collect", "--split", "validation", "--seed", "10000", "--out", str(dataset)]
    assert [name for name, _ in following(words, capsys)] == ["data check", "eval-offline"]


def test_a_dataset_without_subtasks_is_annotated(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / "meta" / "info.json").write_text(json.dumps({"features": {"action": {}}}))
    [(name, args)] = following(["data", "check", str(dataset), "--state", "qpos"], capsys)
    assert (name, args.dataset, args.state, args.rules, args.dry_run) == ("annotate", dataset, ("qpos",), True, True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("policy", "eval"),
        ("value model", "eval"),
        ("backbone", "train"),
        ("image codec", "train"),
        ("toy language model", "train toy_language_rl"),
        ("inverse dynamics model", "data label-actions"),
    ],
)
def test_what_follows_a_training_depends_on_what_was_trained(
    kind: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / NAME / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / CONFIG_FILES[kind]).touch()
    print_next_steps(*parse_line(["train", "nano_tabletop", "--out", str(checkpoint.parent)]))
    words = shlex.split(capsys.readouterr().err.splitlines()[1])
    assert any(str(checkpoint) in word for word in words)
    assert " ".join(words[1:]).startswith(name)
    if kind != "inverse dynamics model":
        parse_line(words[1:])


@pytest.mark.parametrize(
    "words",
    [
        ["record-memory", "nano-memory", "--dataset", "data,1", "--out", "memory.parquet"],
        ["data", "label-actions", "inverse", "--dataset", "data", "--out", "actions.parquet"],
        ["ablate", "ablate_world", "--out", "outputs/world"],
        ["estimate", "wla0_libero", "loop.micro_batches=256"],
        ["train", "nano_codec", "loop.batch_size=8", "--print-config"],
    ],
)
def test_the_changes_of_a_next_training_fit_its_recipe(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for name, args in following(words, capsys):
        assert name in ("train", "ablate")
        load_recipe(args.recipe).override(args.overrides)


def test_only_one_process_of_a_training_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    assert following(["doctor"], capsys) == []


def test_a_line_has_what_was_given() -> None:
    options = {"tasks": ("a", "b"), "num_envs": 2, "no_perturb": True, "replace": False, "csv": None, "setting": ()}
    assert line("data check", Path("x"), **options) == [
        *("data", "check", "x", "--tasks", "a", "b", "--num-envs", "2", "--no-perturb"),
    ]
    assert line("collect", expert_fraction=0) == ["collect", "--expert-fraction", "0"]


def test_the_bundled_robot_is_that_of_the_bundled_policies_for_the_tabletop() -> None:
    folders = {name: folder for name, folder in bundled("policy").items() if name != "nano-metaworld"}
    robots = {json.loads((folder / "robot.json").read_text())["embodiment"] for folder in folders.values()}
    assert robots == {BUNDLED_ROBOT}
