"""`wla list`: the names that commands take, each with a line about it. Imports no torch."""

from __future__ import annotations

import ast
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, NamedTuple

from wla.cli.arguments import MAX_WIDTH
from wla.cli.command import CliArgs, Command
from wla.envs.registry import DEFAULT_FAMILY, family_names, load_family
from wla.envs.requirements import unmet_requirement
from wla.models.registry import BUILT_IN, ENTRY_POINTS
from wla.policy.hub import bundled
from wla.presets.recipe import bundled_recipes
from wla.robots.registry import ROBOTS, load_robot

Kind = Literal[
    "environments",
    "tasks",
    "settings",
    "embodiments",
    "protocols",
    "robots",
    "drivers",
    "policies",
    "value-models",
    "backbones",
    "recipes",
    "models",
]


class ListArgs(CliArgs):
    """List the names that commands take: environments, tasks, policies, recipes and more.

    examples:
      wla list
      wla list recipes
      wla list tasks --env tabletop
    """

    kind: Kind | None = None
    """Kind of the names; all when left out."""
    env: str = DEFAULT_FAMILY
    """Environment of tasks, settings, embodiments and protocols: name of a family, mapping file, or gymnasium id."""


class Name(NamedTuple):
    """A name, and a line about it."""

    name: str
    about: str = ""


class Section(NamedTuple):
    """Names of one kind. use: how commands take them. find: finds them, for the name of an environment."""

    use: str
    find: Callable[[str], Iterable[Name]]


def list_names(args: ListArgs) -> int:
    if args.kind is not None:
        print("\n".join(_lines(SECTIONS[args.kind].find(args.env))))
        return 0
    for kind, section in SECTIONS.items():
        print("\n".join([f"{kind} ({section.use})", *_lines(section.find(args.env), indent="  "), ""]))
    return 0


def _lines(found: Iterable[Name], indent: str = "") -> Iterator[str]:
    """A line per name, broken where a terminal ends."""
    names = list(found)
    column = max((len(each.name) for each in names), default=0) + 2
    width = min(shutil.get_terminal_size().columns, MAX_WIDTH) if sys.stdout.isatty() else sys.maxsize
    for name, about in names:
        first = f"{indent}{name:<{column}}"
        yield from textwrap.wrap(first + about, width, subsequent_indent=" " * len(first)) or [first.rstrip()]


def _environments(_: str) -> Iterator[Name]:
    for name in family_names():
        try:
            family = load_family(name)
        except (ValueError, OSError) as error:  # one that does not load hides no other
            yield Name(name, str(error))
        else:
            missing = unmet_requirement(family.requirements)
            needs = "" if missing is None else f"; needs {missing}"
            yield Name(name, f"{len(family.tasks)} tasks, on {', '.join(family.embodiments)}{needs}")
    yield Name("GYM_ID", "any registered gymnasium environment; see `wla init --help`")


def _tasks(env: str) -> Iterator[Name]:
    family = load_family(env)
    default = family.default_tasks or family.tasks
    for task in family.tasks:
        groups = [name for name, tasks in family.groups.items() if task in tasks]
        yield Name(task, ", ".join([*groups, *(["default"] if task in default else [])]))
    yield from (Name(name, f"the group of {', '.join(tasks)}") for name, tasks in family.groups.items())


def _settings(env: str) -> Iterator[Name]:
    return _first_is_default(load_family(env).settings)


def _embodiments(env: str) -> Iterator[Name]:
    return _first_is_default(load_family(env).embodiments)


def _protocols(env: str) -> Iterator[Name]:
    return _first_is_default(load_family(env).protocols)


def _robots(_: str) -> Iterator[Name]:
    for name in ROBOTS.names():
        try:
            action, observation = (robot := load_robot(name)).action, robot.observation
        except ValueError as error:  # one that does not load hides no other
            yield Name(name, str(error))
        else:
            sizes = f"{action.dim} actions, {observation.state_dim} state dimensions, {action.rate_hz:g} Hz"
            yield Name(name, f"{sizes}, cameras {', '.join(observation.cameras)}")


def _drivers(_: str) -> Iterator[Name]:
    # Imported here: robots need numpy, and help does not.
    from wla.control.open_robot import DRIVERS, RobotDriver

    yield Name("FAMILY:TASK", f"a simulated robot of {', '.join(family_names())}")
    yield Name("lerobot:NAME", "a robot that LeRobot has a driver for, with --robot-config FILE.toml")
    for name in DRIVERS.names():
        try:
            DRIVERS.find(name, RobotDriver)
        except ValueError as error:  # one that does not load hides no other
            yield Name(name, str(error))
        else:
            offered = sorted(point.value for point in entry_points(group=DRIVERS.group, name=name))
            yield Name(name, f"a robot of another package ({', '.join(offered)})")


def _first_is_default(names: Iterable[str]) -> Iterator[Name]:
    return (Name(name, "" if index else "default") for index, name in enumerate(names))


def _policies(_: str) -> Iterator[Name]:
    yield from _checkpoints("policy")
    yield Name("expert", "the scripted expert of the environment: the upper bound, and the source of data")
    yield Name("random", "random actions")
    yield Name("zero", "no motion")


def _checkpoints(kind: str) -> Iterator[Name]:
    return (Name(name, _first_sentence(folder / "README.md")) for name, folder in bundled(kind).items())


def _recipes(_: str) -> Iterator[Name]:
    for name, path in bundled_recipes().items():
        tree = ast.parse(path.read_text("utf-8"))
        about = (ast.get_docstring(tree) or "").partition("\n")[0]
        yield Name(name, f"[{_trains(tree)}] {about}")


def _trains(recipe: ast.Module) -> str:
    """What a recipe trains, by the class that its `config` returns: ``policy`` for a `PolicyTrainConfig`."""
    returned = [each.returns for each in recipe.body if isinstance(each, ast.FunctionDef) and each.name == "config"]
    name = next((ast.unparse(each) for each in returned if each is not None), "")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.removesuffix("TrainConfig")).lower()


def _models(_: str) -> Iterator[Name]:
    yield from (Name(kind, value) for kind, value in BUILT_IN.items())
    yield from (Name(point.name, point.value) for point in entry_points(group=ENTRY_POINTS))


def _first_sentence(card: Path) -> str:
    paragraphs = card.read_text("utf-8").split("\n\n") if card.is_file() else []
    return " ".join("".join(paragraphs[1:2]).split()).partition(". ")[0].rstrip(".")


SECTIONS: dict[Kind, Section] = {
    "environments": Section("--env", _environments),
    "tasks": Section("--tasks", _tasks),
    "settings": Section("--setting", _settings),
    "embodiments": Section("--embodiment", _embodiments),
    "protocols": Section("--protocol", _protocols),
    "robots": Section("wla init DATASET --robot, robot=.. of a dataset in a recipe", _robots),
    "drivers": Section("wla run POLICY --robot", _drivers),
    "policies": Section("wla eval POLICY", _policies),
    "value-models": Section("wla eval .. --value", lambda _: _checkpoints("value model")),
    "backbones": Section("wla train RECIPE init.backbone=..", lambda _: _checkpoints("backbone")),
    "recipes": Section("wla train RECIPE; wla ablate RECIPE for an ablation", _recipes),
    "models": Section("model.kind=.. of a recipe", _models),
}
LIST = {"list": Command(ListArgs, list_names, positional=("kind",))}
