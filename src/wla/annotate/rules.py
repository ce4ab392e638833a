"""Subtasks from rules over proprioception: the phases of a task follow from what the gripper and the tool do."""

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
    """From a phase back to an earlier one (or on to another), called by its name, when all of `when` is so."""

    when: tuple[str, ...] = Field(min_length=1)
    to: str


class Phase(Config):
    """One subtask. It begins at the first frame, during the phase before it, at which all of `when` is so.

    say: its words, with the groups of the instruction's pattern in braces. retry is looked at after the next phase.
    """

    name: str
    subtask: str = Field(min_length=1)
    when: tuple[str, ...] = ()
    retry: Retry | None = None


class Template(Config):
    """Tasks whose instruction one of the patterns (regular expressions) is found in, whatever the case."""

    name: str
    instruction: tuple[str, ...] = Field(min_length=1)
    phases: tuple[Phase, ...] = Field(min_length=1)

    def match(self, instruction: str) -> dict[str, str] | None:
        """The groups of the first pattern that fits; None when none does."""
        for pattern in self.instruction:
            match = re.search(pattern, instruction, re.IGNORECASE)
            if match:
                return match.groupdict()
        return None


class Templates(Config):
    """A template file. The first template that fits an instruction is used."""

    task: tuple[Template, ...] = Field(min_length=1)

    def find(self, instruction: str) -> tuple[Template, dict[str, str]] | None:
        for template in self.task:
            words = template.match(instruction)
            if words is not None:
                return template, words
        return None


def read_templates(path: Path | None = None) -> Templates:
    """A template file (TOML), or the bundled one. ValueError when it is absent, damaged or contradicts itself."""
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
    problems = [f"two phases are called {name!r}; rename one" for name in set(names) if names.count(name) > 1]
    groups = []
    for pattern in template.instruction:
        try:
            groups.append(set(re.compile(pattern).groupindex))
        except re.error as error:
            return [f"{pattern!r} is no regular expression ({error}); correct it"]
    for number, phase in enumerate(template.phases):
        where = f"phase {phase.name!r}"
        if bool(number) != bool(phase.when):
            problems.append(f"{where}: the first phase has no `when`, all others need one; correct it")
        asked = [*phase.when, *(phase.retry.when if phase.retry else ())]
        unknown = [word for word in asked if word.removeprefix("not ") not in CONDITIONS]
        if unknown:
            problems.append(f"{where}: no condition {unknown[0]!r}; there are {', '.join(CONDITIONS)}")
        if phase.retry and phase.retry.to not in names:
            problems.append(f"{where}: retry to {phase.retry.to!r}, which is no phase; there are {', '.join(names)}")
        try:
            for known in groups:
                phase.subtask.format_map({group: "" for group in known})
        except (KeyError, ValueError, IndexError) as error:
            problems.append(f"{where}: {phase.subtask!r} asks for {error}, which not every instruction pattern has")
    return problems


def label(dataset: LeRobotDataset, templates: Templates) -> list[Segment]:
    """Propose subtasks for every episode. Reads state, actions, instructions and the robot's spec; nothing else.

    ValueError when the robot is unknown, when no template fits an instruction, or when the robot lacks what a template
    asks for.
    """
    if dataset.robot_spec is None:
        raise ValueError(
            f"{dataset.root}: does not say which robot it is of (meta/wla_robot.json), so rules cannot read its state; "
            "write that file, or annotate with --endpoint or --csv"
        )
    found = [templates.find(episode.instruction) for episode in dataset.episodes]
    unfit = [episode for episode, fit in zip(dataset.episodes, found, strict=True) if fit is None]
    if unfit:
        raise ValueError(
            f"{dataset.root}: no template fits {unfit[0].instruction!r} (episode {unfit[0].index}; {len(unfit)} "
            "episodes have none); add one and give the file with --templates, or annotate with --endpoint or --csv"
        )
    robot = RobotSignals(dataset.robot_spec)
    have = dataset.actions is not None
    for template in {fit[0].name: fit[0] for fit in found if fit}.values():
        for word in _required_conditions(template):
            absent = robot.missing_input(word, actions=have)
            if absent:
                raise ValueError(
                    f"{dataset.root}: template {template.name!r} asks whether {CONDITIONS[word]} ({word}), and robot "
                    f"{robot.spec.embodiment!r} does not have {absent}; give other --templates, or annotate with "
                    "--endpoint or --csv"
                )
    segments = []
    for episode, fit in zip(dataset.episodes, found, strict=True):
        assert fit is not None
        part = slice(episode.start, episode.end)
        signals = robot.signals(dataset.state[part], None if dataset.actions is None else dataset.actions[part])
        segments += segments_from_texts(episode.index, _texts(*fit, signals, len(episode)))
    return segments


def _required_conditions(template: Template) -> list[str]:
    words = [word for phase in template.phases for word in (*phase.when, *(phase.retry.when if phase.retry else ()))]
    return sorted({word.removeprefix("not ") for word in words})


def _texts(template: Template, groups: Mapping[str, Any], signals: Signals, length: int) -> list[str]:
    """The words of each frame of an episode."""
    phases = template.phases
    numbers = {phase.name: number for number, phase in enumerate(phases)}
    at, texts = 0, []
    for frame in range(length):
        retry = phases[at].retry
        if at + 1 < len(phases) and _conditions_met(phases[at + 1].when, signals, frame):
            at += 1
        elif retry is not None and _conditions_met(retry.when, signals, frame):
            at = numbers[retry.to]
        texts.append(phases[at].subtask.format_map(groups))
    return texts


def _conditions_met(when: tuple[str, ...], signals: Signals, frame: int) -> bool:
    return all(
        bool(np.logical_not(signals[word[4:]][frame]) if word.startswith("not ") else signals[word][frame])
        for word in when
    )
