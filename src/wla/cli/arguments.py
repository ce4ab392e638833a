"""Command-line arguments from the fields of a configuration: each option, its default and its help are declared once.

A field ``num_envs`` is the option ``--num-envs``, ``from_`` is ``--from``, its docstring the help. A field without
default is required; a tuple takes several values, a flag has ``--name`` and ``--no-name``.
"""

from __future__ import annotations

import argparse
import inspect
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any, NoReturn, TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from wla.cli.type_names import type_name
from wla.config_errors import alternatives, item_type, nearest
from wla.migrations import RENAMED_OPTIONS

ArgumentsT = TypeVar("ArgumentsT", bound=BaseModel)
EXAMPLES = "\nexamples:\n"
"""Line of a docstring from which on it shows examples."""
MAX_WIDTH = 110
LOOKS_LIKE_AN_OPTION = re.compile(r"--|-[A-Za-z]")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def parse(kind: type[ArgumentsT], positional: Sequence[str], prog: str, words: Sequence[str]) -> ArgumentsT:
    """Returns the arguments of a command, validated.

    Args:
        kind: class whose fields are the options.
        positional: fields that are given by position, in this order; the last may be a tuple.
        prog: the command, as typed; messages name it.
        words: what was typed after it.

    Raises:
        ValueError: an unknown option, one that is missing, or a value that does not fit, in one line.
    """
    values = given(kind, positional, prog, words)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ValueError(_message(error, positional, prog, values)) from error


def given(kind: type[BaseModel], positional: Sequence[str], prog: str, words: Sequence[str]) -> dict[str, Any]:
    """Returns the values that were typed, by field and not validated yet; see `parse`."""
    parser = _parser(kind, positional, prog)
    known = _options(kind, positional)
    for word in words:
        option = word.partition("=")[0]
        if LOOKS_LIKE_AN_OPTION.match(option) and option not in known:
            raise ValueError(f"{unknown_option(option, known)} (see {prog} --help)")
    return vars(parser.parse_intermixed_args(list(words)))


def help_text(kind: type[BaseModel], positional: Sequence[str], prog: str) -> str:
    """Returns usage, docstring, options with defaults, and examples."""
    return _parser(kind, positional, prog).format_help()


def unknown_option(option: str, known: Iterable[str]) -> str:
    """Returns the message about an option that does not exist: its present name, the nearest one, or all there are."""
    known = sorted(known)
    if RENAMED_OPTIONS.get(option) in known:
        return f"option {option} is called {RENAMED_OPTIONS[option]} now"
    near = nearest(option, known)
    hint = f"did you mean {near}?" if near else f"options are {', '.join(known)}"
    return f"no option {option}; {hint}"


def _options(kind: type[BaseModel], positional: Sequence[str]) -> set[str]:
    names = [name for name in kind.model_fields if name not in positional]
    flags = [name for name in names if kind.model_fields[name].annotation is bool]
    return {_option(name) for name in names} | {"--no-" + _option(name)[2:] for name in flags}


def _option(name: str) -> str:
    return "--" + name.rstrip("_").replace("_", "-")


def _parser(kind: type[BaseModel], positional: Sequence[str], prog: str) -> _Parser:
    text, _, examples = inspect.cleandoc(kind.__doc__ or "").partition(EXAMPLES)
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH)
    parser = _Parser(
        prog=prog,
        usage=_usage(kind, positional),
        description=text.strip(),
        epilog=f"examples:\n{examples}".rstrip(),
        add_help=False,
        allow_abbrev=False,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=width),
    )
    for name in positional:
        field = kind.model_fields[name]
        many = "*" if _is_tuple(field) else "?"
        parser.add_argument(name, nargs=many, metavar=name.upper(), help=_help(field), default=argparse.SUPPRESS)
    for name, field in kind.model_fields.items():
        if name in positional:
            continue
        option: dict[str, Any] = {"dest": name, "help": _help(field), "default": argparse.SUPPRESS}
        if field.annotation is bool:
            parser.add_argument(_option(name), action=argparse.BooleanOptionalAction, **option)
        else:
            option |= {"nargs": "*"} if _is_tuple(field) else {}
            parser.add_argument(_option(name), metavar=_metavar(field), **option)
    return parser


def _usage(kind: type[BaseModel], positional: Sequence[str]) -> str:
    fields = kind.model_fields
    words = [f"{name.upper()} .." if _is_tuple(fields[name]) else name.upper() for name in positional]
    words = [word if fields[name].is_required() else f"[{word}]" for name, word in zip(positional, words, strict=True)]
    required = [name for name, field in fields.items() if field.is_required() and name not in positional]
    words += [f"{_option(name)} {name.upper()}" for name in required]
    return " ".join(["%(prog)s", *words, "[options]"])


def _help(field: FieldInfo) -> str:
    text = " ".join((field.description or "").split())
    default = field.get_default(call_default_factory=True) if not field.is_required() else None
    if field.is_required():
        text += " (required)"
    elif default is True:
        text += " (default: yes)"
    elif default is not None and default is not False and default not in ((), ""):
        text += f" (default: {' '.join(map(str, default)) if isinstance(default, tuple) else default})"
    return text.strip().replace("%", "%%")


def _metavar(field: FieldInfo) -> str:
    """The kind of value an option takes; of one item, where it takes several."""
    members = [each for each in alternatives(field.annotation) if each is not NoneType]
    names = [type_name(item_type(each) if get_origin(each) is tuple else each) for each in members]
    return "|".join(names).replace(" | ", "|")


def _is_tuple(field: FieldInfo) -> bool:
    return any(get_origin(each) is tuple for each in alternatives(field.annotation))


def _message(error: ValidationError, positional: Sequence[str], prog: str, values: Mapping[str, Any]) -> str:
    """Returns the message about the first wrong value, or about all that are missing.

    values: what was typed.
    """
    names = {each["loc"]: _label(each["loc"], positional) for each in error.errors() if each["type"] == "missing"}
    if names:
        missing = list(names.values())
        # An option of several values takes the words after it, also the one that was meant for a position.
        greedy = [_option(name) for name, value in values.items() if isinstance(value, list) and name not in positional]
        swallowed = greedy and missing[0] in map(str.upper, positional)
        order = f"; {missing[0]} goes before {greedy[0]}, which takes all words after it" if swallowed else ""
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing{order} (see {prog} --help)"
    item = error.errors()[0]
    message = item["msg"].removeprefix("Value error, ")
    choices = re.findall(r"'([^']*)'", item.get("ctx", {}).get("expected", ""))
    near = nearest(str(item["input"]), choices)
    if near is not None:
        message = f"did you mean {near!r}? {message}"
    return f"{_label(item['loc'], positional)}: {message} (got {item['input']!r})" if item["loc"] else message


def _label(location: Sequence[str | int], positional: Sequence[str]) -> str:
    name = str(location[0])
    return name.upper() if name in positional else _option(name)
