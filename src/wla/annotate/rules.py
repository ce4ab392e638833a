"""Subtask labels from rules over proprioception: the phases of a task are derived from gripper and tool motion."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, ValidationError

from wla.annotate.segments import Segment, segments_from_texts
from wla.annotate.signals import CONDITIONS, RobotSignals, Signals
from wla.config import Config
from wla.data.lerobot.reader import LeRobotDataset

BUNDLED = "templates.toml"


class Retry(Config):
    """Transition from a phase back to an earlier one, or to any other.

    Attributes:
        when: conditions, all of which must hold.
        to: name of the next phase.
    """

    when: tuple[str, ...] = Field(min_length=1)
    to: str


class Phase(Config):
    """One subtask of a task.

    Attributes:
        name: of the phase, unique in its template.
        subtask: text, with the named groups of the instruction's pattern in braces.
        when: conditions, all of which must hold; the phase begins at the first frame of the previous phase at which
            they do. The first phase has none.
        retry: transition back, checked after the transition to the next phase.
    """

    name: str
    subtask: str = Field(min_length=1)
    when: tuple[str, ...] = ()
    retry: Retry | None = None


class Template(Config):
    """Phases of the tasks whose instruction matches.

    Attributes:
        name: of the task.
        instruction: regular expressions, of which at least one is found in the instruction, regardless of case.
        phases: in order.
    """

    name: str
    instruction: tuple[str, ...] = Field(min_length=1)
    phases: tuple[Phase, ...] = Field(min_length=1)

    def match(self, instruction: str) -> dict[str, str] | None:
        """Returns the named groups of the first pattern that matches; None when none does."""
        for pattern in self.instruction:
            match = re.search(pattern, instruction, re.IGNORECASE)
            if match:
                return match.groupdict()
        return None


class Templates(Config):
    """Contents of a template file. The first template that matches an instruction is used."""

    task: tuple[Template, ...] = Field(min_length=1)

    def find(self, instruction: str) -> tuple[Template, dict[str, str]] | None:
        """Returns the first matching template and the named groups of its pattern; None when none matches."""
        for template in self.task:
            groups = template.match(instruction)
            if groups is not None:
                return template, groups
        return None


def read_templates(path: Path | None = None) -> Templates:
    """Reads a template file (TOML), or the bundled one for None.

    Raises:
        ValueError: the file is absent, damaged or inconsistent.
    """
    source = resources.files("wla.annotate") / BUNDLED if path is None else path
    if not source.is_file():
        raise ValueError(f"{source}: no such template file; correct the path")
    try:
        templates = Templates.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{source}: damaged TOML ({error}); correct it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{source}: {where}: {first['msg']}; correct it") from error
    for template in templates.task:
        for problem in _problems(template):
            raise ValueError(f"{source}: task {template.name!r}: {problem}")
    return templates


def _problems(template: Template) -> list[str]:
    names = [phase.name for phase in template.phases]
    problems = [f"two phases are named {name!r}; rename one" for name in set(names) if names.count(name) > 1]
    groups = []
    for pattern in template.instruction:
        try:
            groups.append(set(re.compile(pattern).groupindex))
        except re.error as error:
            return [f"{pattern!r} is not a regular expression ({error}); correct it"]
    for number, phase in enumerate(template.phases):
        where = f"phase {phase.name!r}"
        if bool(number) != bool(phase.when):
            problems.append(f"{where}: the first phase has no `when`, all others need one; correct it")
        unknown = [name for name in _conditions(phase) if name.removeprefix("not ") not in CONDITIONS]
        if unknown:
            problems.append(f"{where}: unknown condition {unknown[0]!r}; known are {', '.join(CONDITIONS)}")
        if phase.retry and phase.retry.to not in names:
            problems.append(f"{where}: retry to unknown phase {phase.retry.to!r}; known are {', '.join(names)}")
        try:
            for group_names in groups:
                phase.subtask.format_map({group: "" for group in group_names})
        except (KeyError, ValueError, IndexError) as error:
            problems.append(
                f"{where}: {phase.subtask!r} needs {error}, which not every instruction pattern has; correct it"
            )
    return problems


def label(dataset: LeRobotDataset, templates: Templates) -> list[Segment]:
    """Proposes subtasks for every episode from state, actions, instructions and robot spec.

    Labels of the dataset are not used.

    Raises:
        ValueError: the dataset has no robot spec, no template matches an instruction, or the robot lacks an input of a
            condition.
    """
    robot = RobotSignals(dataset.require_robot())
    matches = [templates.find(episode.instruction) for episode in dataset.episodes]
    unmatched = [episode for episode, match in zip(dataset.episodes, matches, strict=True) if match is None]
    if unmatched:
        raise ValueError(
            f"{dataset.root}: no template matches {unmatched[0].instruction!r} (episode {unmatched[0].index}; "
            f"{len(unmatched)} episodes have none); add one and give the file with --templates, or annotate with "
            "--endpoint or --csv"
        )
    has_actions = dataset.actions is not None
    for template in {match[0].name: match[0] for match in matches if match}.values():
        for condition in _required_conditions(template):
            missing = robot.missing_input(condition, actions=has_actions)
            if missing:
                raise ValueError(
                    f"{dataset.root}: template {template.name!r} needs the condition {condition!r} "
                    f"({CONDITIONS[condition]}), but robot {robot.spec.embodiment!r} does not have {missing}; give "
                    "other --templates, or annotate with --endpoint or --csv"
                )
    segments = []
    for episode, match in zip(dataset.episodes, matches, strict=True):
        assert match is not None
        part = slice(episode.start, episode.end)
        signals = robot.signals(dataset.state[part], None if dataset.actions is None else dataset.actions[part])
        segments += segments_from_texts(episode.index, _texts(*match, signals, len(episode)))
    return segments


def _conditions(phase: Phase) -> tuple[str, ...]:
    return (*phase.when, *(phase.retry.when if phase.retry else ()))


def _required_conditions(template: Template) -> list[str]:
    return sorted({name.removeprefix("not ") for phase in template.phases for name in _conditions(phase)})


def _texts(template: Template, groups: Mapping[str, Any], signals: Signals, length: int) -> list[str]:
    """Returns the subtask of each frame of an episode."""
    phases = template.phases
    numbers = {phase.name: number for number, phase in enumerate(phases)}
    current, texts = 0, []
    for frame in range(length):
        retry = phases[current].retry
        if current + 1 < len(phases) and _conditions_met(phases[current + 1].when, signals, frame):
            current += 1
        elif retry is not None and _conditions_met(retry.when, signals, frame):
            current = numbers[retry.to]
        texts.append(phases[current].subtask.format_map(groups))
    return texts


def _conditions_met(when: tuple[str, ...], signals: Signals, frame: int) -> bool:
    return all(
        bool(np.logical_not(signals[name[4:]][frame]) if name.startswith("not ") else signals[name][frame])
        for name in when
    )
