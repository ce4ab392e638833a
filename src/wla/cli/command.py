"""Commands and groups of commands: what runs when a name is typed, and what helps when a name is mistyped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from wla.cli.arguments import given, help_text, parse
from wla.cli.next_steps import print_next_steps
from wla.config_errors import nearest
from wla.migrations import RENAMED_COMMANDS

HELP_FLAGS = ("-h", "--help")


class CliArgs(BaseModel):
    """Options of a command that no configuration declares. The string below a field is its help."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Command(NamedTuple):
    """A command.

    arguments: class of its options, whose docstring is the help. run: receives them and returns the exit code.
    positional: fields that are given by position. details: more help, for the values that were typed beside --help.
    """

    arguments: type[BaseModel]
    run: Callable[[Any], int]
    positional: tuple[str, ...] = ()
    details: Callable[[Mapping[str, Any]], str] | None = None

    @property
    def summary(self) -> str:
        return (self.arguments.__doc__ or "").partition("\n")[0]

    def call(self, name: str, words: Sequence[str]) -> int:
        """Runs the command or prints its help. Returns the exit code; ValueError for wrong options."""
        prog = f"wla {name}"
        rest = [word for word in words if word not in HELP_FLAGS]
        if len(rest) == len(words):
            args = parse(self.arguments, self.positional, prog, words)
            code = self.run(args)
            if code == 0:
                print_next_steps(name, args)
            return code
        details = ""
        if self.details is not None and rest:
            details = "\n" + self.details(given(self.arguments, self.positional, prog, rest))
        print(help_text(self.arguments, self.positional, prog) + details, end="")
        return 0


class Group(NamedTuple):
    """Commands of two names, such as `data check`.

    text: the help, with gaps for {summary} and {commands}.
    """

    summary: str
    text: str
    commands: dict[str, Command]

    def call(self, name: str, words: Sequence[str]) -> int:
        if not words or words[0] in HELP_FLAGS:
            print(self.text.format(summary=self.summary, commands=format_commands(self.commands)), end="")
            return 0 if words else 2
        second, *rest = words
        if second not in self.commands:
            raise ValueError(unknown_command(second, self.commands, name))
        return self.commands[second].call(f"{name} {second}", rest)


def format_commands(commands: Mapping[str, Command | Group]) -> str:
    """Returns a line for each command: its name and summary."""
    width = max(map(len, commands)) + 2
    return "\n".join(f"  {name:<{width}}{command.summary}" for name, command in commands.items())


def unknown_command(name: str, known: Collection[str], group: str = "") -> str:
    """Returns the message about a command that does not exist: its present name, the nearest one, or all there are."""
    prefix = f"{group} " if group else ""
    present = RENAMED_COMMANDS.get(prefix + name)
    if present is not None:
        return f"command '{prefix}{name}' is called '{present}' now (see wla {present} --help)"
    near = nearest(name, known)
    hint = f"did you mean '{prefix}{near}'?" if near else f"there are {', '.join(known)}"
    return f"no command '{prefix}{name}'; {hint} (see wla {prefix}--help)"
