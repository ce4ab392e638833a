"""Options from fields: parsing, help and messages, each declared once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from wla.cli.arguments import help_text, parse
from wla.cli.command import CliArgs, unknown_command


class Args(CliArgs):
    """Do a thing.

    It takes a while.

    examples:
      wla thing x --out y
    """

    policy: str
    """A checkpoint."""
    changes: tuple[str, ...] = ()
    """Changes, 100 % of them."""
    out: Path
    """Folder of the results."""
    setting: tuple[str, ...] = Field(default=("clean",), min_length=1)
    """Settings."""
    episodes: int = Field(default=50, ge=1)
    """Episodes."""
    num_envs: int | None = None
    """Processes."""
    mode: Literal["fast", "exact"] = "fast"
    """Way to do it."""
    perturb: bool = True
    """Disturb."""
    resume: bool = False
    """Resume."""


def parsed(*words: str) -> Args:
    return parse(Args, ("policy", "changes"), "wla thing", words)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["p", "--out", "o"], Args(policy="p", out=Path("o"))),
        (["--out=o", "p"], Args(policy="p", out=Path("o"))),
        (["p", "a=1", "--out", "o", "b=-2"], Args(policy="p", changes=("a=1", "b=-2"), out=Path("o"))),
        (
            ["p", "--setting", "clean", "randomized", "--out", "o"],
            Args(policy="p", setting=("clean", "randomized"), out=Path("o")),
        ),
        (["p", "--out", "o", "--no-perturb", "--resume"], Args(policy="p", out=Path("o"), perturb=False, resume=True)),
        (["p", "--out", "o", "--num-envs", "4", "--mode", "exact"],
         Args(policy="p", out=Path("o"), num_envs=4, mode="exact")),
    ],
)  # fmt: skip
def test_fields_are_options_and_positions(words: list[str], expected: Args) -> None:
    assert parsed(*words) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "POLICY and --out are missing (see wla thing --help)"),
        (["p"], "--out is missing (see wla thing --help)"),
        (["p", "--out", "o", "--epsiodes", "3"],
         "no option --epsiodes; did you mean --episodes? (see wla thing --help)"),
        (["p", "--out", "o", "--setting=x", "--no-preturb"],
         "no option --no-preturb; did you mean --no-perturb? (see wla thing --help)"),
        (["--out", "o", "--setting", "clean", "p"],
         "POLICY is missing; POLICY goes before --setting, which takes all words after it (see wla thing --help)"),
        (["p", "-o", "out"], "no option -o; options are --episodes, --mode, "),
        (["p", "--out", "o", "--kicks"], "option --kicks is called --perturb now (see wla thing --help)"),
        (["p", "--out", "o", "--qq"], "no option --qq; options are --episodes, --mode, "),
        (["p", "--out"], "argument --out: expected one argument (see wla thing --help)"),
        (["p", "--out", "o", "--episodes", "0"], "--episodes: Input should be greater than or equal to 1 (got '0')"),
        (["p", "--out", "o", "--episodes", "x"], "--episodes: Input should be a valid integer"),
        (["p", "--out", "o", "--mode", "slow"], "--mode: Input should be 'fast' or 'exact' (got 'slow')"),
        (["p", "--out", "o", "--mode", "exct"], "--mode: did you mean 'exact'? Input should be 'fast' or 'exact'"),
        (["p", "--out", "o", "--setting"], "--setting: Tuple should have at least 1 item"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as raised:
        parsed(*words)
    assert "\n" not in str(raised.value)


def test_help_has_usage_text_every_option_with_its_default_and_examples_last() -> None:
    text = help_text(Args, ("policy", "changes"), "wla thing")
    assert text.startswith(
        "usage: wla thing POLICY [CHANGES ..] --out OUT [options]\n\nDo a thing.\n\nIt takes a while."
    )
    lines = " ".join(text.split())
    for shown in (
        "POLICY A checkpoint. (required)",
        "CHANGES Changes, 100 % of them.",
        "--out path Folder of the results. (required)",
        "--setting [text ...] Settings. (default: clean)",
        "--episodes int Episodes. (default: 50)",
        "--num-envs int Processes. --mode fast|exact Way to do it. (default: fast)",
        "--perturb, --no-perturb Disturb. (default: yes)",
        "--resume, --no-resume Resume. examples:",
    ):
        assert shown in lines
    assert text.endswith("\nexamples:\n  wla thing x --out y\n")


@pytest.mark.parametrize(
    ("name", "group", "message"),
    [
        ("evaluate", "", "no command 'evaluate'; did you mean 'eval'? (see wla --help)"),
        ("trian", "", "no command 'trian'; did you mean 'train'? (see wla --help)"),
        ("zzz", "", "no command 'zzz'; there are train, eval (see wla --help)"),
        ("compare", "", "command 'compare' is called 'eval-offline' now (see wla eval-offline --help)"),
        ("infer-actions", "data", "command 'data infer-actions' is called 'data label-actions' now (see"),
        ("evl", "data", "no command 'data evl'; did you mean 'data eval'? (see wla data --help)"),
    ],
)
def test_unknown_commands_are_named_with_a_way_out(name: str, group: str, message: str) -> None:
    assert unknown_command(name, ("train", "eval"), group).startswith(message)
