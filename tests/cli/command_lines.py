"""Command lines of help and of next steps, read by the real parser."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from wla.cli.arguments import EXAMPLES, parse
from wla.cli.command import HELP_FLAGS, Command, Group
from wla.cli.commands import COMMANDS


def commands() -> Iterator[tuple[str, Command]]:
    """Every command with its full name."""
    for name, command in COMMANDS.items():
        match command:
            case Command():
                yield name, command
            case Group():
                yield from ((f"{name} {each}", member) for each, member in command.commands.items())


def parse_line(words: Sequence[str]) -> tuple[str, BaseModel]:
    """The command and the arguments of what follows `wla`. ValueError where the parser refuses it."""
    known = dict(commands())
    name = next(" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known)
    rest = [word for word in words[len(name.split()) :] if word not in HELP_FLAGS]
    return name, parse(known[name].arguments, known[name].positional, f"wla {name}", rest)


def examples(command: Command) -> list[list[str]]:
    """The examples in a command's help, as words after `wla`."""
    text = inspect.cleandoc(command.arguments.__doc__ or "").partition(EXAMPLES)[2].replace("\\\n", " ")
    lines = (shlex.split(line, comments=True) for line in text.splitlines())
    return [words[words.index("wla") + 1 :] for words in lines if words]
