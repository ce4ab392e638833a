"""What the modules of the command line share: arguments whose mistakes are one line, commands, groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tyro
from pydantic import BaseModel, ValidationError


class UsageError(Exception):
    """A value that parses but cannot be meant, as one line."""


class CliArgs(BaseModel):
    """Arguments whose mistakes become `UsageError`: of a ValueError the parser would print pydantic's whole text."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            item = error.errors()[0]
            option = "--" + ".".join(map(str, item["loc"])).replace("_", "-")
            raise UsageError(f"{option}: {item['msg']} (got {item['input']!r})") from error


class Command(NamedTuple):
    """A subcommand: its arguments, whose docstring is its help, and what runs them and returns the exit code."""

    arguments: type[BaseModel]
    run: Callable[[Any], int]

    @property
    def summary(self) -> str:
        return (self.arguments.__doc__ or "").partition("\n")[0]

    def call(self, name: str, args: Sequence[str]) -> int:
        return self.run(tyro.cli(self.arguments, prog=f"wla {name}", args=args))


class Group(NamedTuple):
    """Commands with a second word. text: its help, with a place for the list of {commands}."""

    summary: str
    text: str
    commands: dict[str, Command]

    def call(self, name: str, args: Sequence[str]) -> int:
        if not args or args[0] in ("-h", "--help"):
            print(self.text.format(summary=self.summary, commands=format_commands(self.commands)), end="")
            return 0 if args else 2
        second, *rest = args
        if second not in self.commands:
            raise ValueError(
                f"no command '{name} {second}'; there are {', '.join(self.commands)} (see wla {name} --help)"
            )
        return self.commands[second].call(f"{name} {second}", rest)


def format_commands(commands: dict[str, Command] | dict[str, Command | Group]) -> str:
    """A line for each command."""
    width = max(map(len, commands)) + 2
    return "\n".join(f"  {name:<{width}}{command.summary}" for name, command in commands.items())
