"""Environment families: N tasks of one simulator behind one interface, entered in `wla.envs.registry` by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from wla.config import Record
from wla.config_errors import nearest
from wla.envs.registry import DEFAULT_PROTOCOL
from wla.envs.seeds import SEED_RANGES, Split
from wla.types import Env, Policy

Position = tuple[float, float, float]


class VisibleObject(Record):
    """A named object, the label that it shows, and its position (x, y, z) in the world and in each camera.

    position: in metres, or else in the units in which the robot's state gives the position of its tool.
    views: camera -> (u, v, x, y, z): image coordinates in fractions of the image from the upper left corner, and the
    position in the camera's frame (x right, y up, z back, metres).
    """

    name: str
    label: str = ""
    position: Position
    views: dict[str, tuple[float, float, float, float, float]]

    @property
    def class_name(self) -> str:
        """What an image of it shows: its name and its label."""
        return f"{self.name} {self.label}".strip()


class MakeEnv(Protocol):
    def __call__(self, task: str, *, setting: str, embodiment: str, image_size: int | None, protocol: str) -> Env:
        """A new environment. All names are the family's own; image_size None means its usual one.

        ValueError for a combination that it does not have.
        """
        ...


def no_expert(env: Env) -> Policy | None:
    """The `make_expert` of a family without scripted experts."""
    return None


@dataclass(frozen=True)
class EnvFamily:
    """The environments of one simulator or benchmark.

    tasks: their names, usable in file names. settings, embodiments, protocols: each at least one, the first is the
    default; a protocol is a named way to measure (limits of steps, initial states, the rule of success). groups: named
    sets of tasks, usable wherever tasks are. averaged_groups: those over whose rates the benchmark's papers average,
    which together are all tasks. default_tasks: those meant where none are given (none: all). video_tasks:
    those kept to be learned from videos, whose actions are not recorded. seeds: the seeds of each split, within those
    of the package. versions: of the packages behind it, recorded with every episode. requirements: of these packages,
    as in pyproject.toml, where this package does not bring them; `make_env` checks them.

    make: see `MakeEnv`. make_expert: the scripted expert of an environment that `make` made, None where there is none.
    sample_scene, objects: for questions about images: a still scene of a seed (an observation of `wla.types.Env`), and
    the objects in it as the given cameras see them.
    """

    name: str
    tasks: tuple[str, ...]
    make: MakeEnv
    settings: tuple[str, ...] = ("default",)
    embodiments: tuple[str, ...] = ("default",)
    protocols: tuple[str, ...] = (DEFAULT_PROTOCOL,)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    averaged_groups: tuple[str, ...] = ()
    default_tasks: tuple[str, ...] = ()
    video_tasks: tuple[str, ...] = ()
    make_expert: Callable[[Env], Policy | None] = no_expert
    seeds: Mapping[Split, range] = field(default_factory=lambda: SEED_RANGES)
    versions: Mapping[str, str] = field(default_factory=dict)
    requirements: tuple[str, ...] = ()
    sample_scene: Callable[[Any, int], dict[str, Any]] | None = None
    objects: Callable[[Any, Iterable[str]], Sequence[VisibleObject]] | None = None

    def __post_init__(self) -> None:
        for what in ("tasks", "settings", "embodiments", "protocols"):
            assert getattr(self, what), f"the family {self.name} has no {what}"
        named = {*self.default_tasks, *self.video_tasks, *(task for group in self.groups.values() for task in group)}
        assert named <= set(self.tasks), f"the family {self.name} has no tasks {named - set(self.tasks)}"
        assert not self.groups.keys() & set(self.tasks), f"a task and a group of the family {self.name} share a name"
        averaged = [task for group in self.averaged_groups for task in self.groups[group]]
        whole = not averaged or sorted(averaged) == sorted(self.tasks)
        assert whole, f"the averaged groups of the family {self.name} do not share out its tasks"
        for split, allowed in SEED_RANGES.items():
            own = self.seeds[split]
            inside = len(own) > 0 and own[0] in allowed and own[-1] in allowed
            assert inside, f"the {split} seeds of the family {self.name} are not within {allowed}"

    def select_tasks(self, names: Iterable[str]) -> tuple[str, ...]:
        """The tasks of these names, each a task's or a group's; no names mean the default ones.

        ValueError names the first unknown one.
        """
        chosen: dict[str, None] = {}
        for name in names:
            if name not in self.groups:
                self.require("task", name, (*self.tasks, *self.groups))
            chosen |= dict.fromkeys(self.groups.get(name, (name,)))
        return tuple(chosen) or self.default_tasks or self.tasks

    def require(self, what: str, value: str, known: Iterable[str]) -> str:
        """Returns the value. ValueError with the nearest one, or all, where it is not one of the known ones."""
        if value not in known:
            near = nearest(value, known)
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known)}"
            raise ValueError(f"{self.name} has no {what} {value!r}; {hint}")
        return value
