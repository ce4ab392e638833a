"""Help teaches: every command line that it shows is one."""

from __future__ import annotations

import re

import pytest
from command_lines import commands, examples, parse_line

from wla.cli.commands import HELP
from wla.cli.data import HELP as DATA_HELP


def shown(text: str) -> list[list[str]]:
    """The command lines of a help text, without the comments that stand in a column of their own."""
    lines = re.findall(r"^  (wla .*)$", text, re.MULTILINE)
    return [re.split(r"  +", line)[0].split()[1:] for line in lines]


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_shows_examples_that_its_parser_takes(name: str) -> None:
    found = [words for words in examples(dict(commands())[name]) if "--help" not in words]
    assert len([words for words in found if parse_line(words)[0] == name]) >= 1
    assert len(found) <= 8


@pytest.mark.parametrize("text", [HELP, DATA_HELP], ids=["wla", "wla data"])
def test_the_lines_of_a_round_are_commands(text: str) -> None:
    lines = shown(text)
    assert len(lines) >= 5
    for words in lines:
        if "--help" not in words:
            parse_line(words)


def test_lines_fit_a_terminal() -> None:
    assert max(map(len, HELP.splitlines())) <= 120
