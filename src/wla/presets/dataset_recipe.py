"""The text of a recipe for datasets that somebody else recorded, with comments for the person who edits it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wla.data.lerobot.columns import Columns
from wla.presets.names import Size
from wla.specs import ImageFit, RobotSpec
from wla.types import ImageKey

PRIMARY_SIDE, OTHER_SIDE = 96, 48
"""Pixels along each side at which a nano model reads the primary camera and the others."""
MAX_CAMERAS = 4
MAX_CHUNK = 50


@dataclass(frozen=True)
class DatasetDraft:
    """What the recipe states of a dataset.

    dataset: as the user named it. robot_file: name of the robot's file beside the recipe; None where the dataset holds
    its robot itself, or a package has it, as `robot_name`. episodes: of the dataset. held_out: those that are never
    trained on, in the notation of `DatasetConfig.validation_episodes`. cameras: the ones that the model reads, the
    primary one first.
    """

    dataset: str
    columns: Columns
    robot: RobotSpec
    robot_file: str | None
    episodes: int
    held_out: str
    cameras: tuple[str, ...]
    robot_name: str | None = None

    @property
    def states_robot(self) -> bool:
        """Whether the recipe gives the dataset its robot."""
        return self.robot_file is not None or self.robot_name is not None


@dataclass(frozen=True)
class RecipeDraft:
    """Everything that the recipe states.

    out: its file's name. datasets: at least one; of one robot, or of several that share a policy. chunk: actions that
    are predicted at once. relative: whether targets are learned as offsets from the state.
    """

    out: str
    datasets: tuple[DatasetDraft, ...]
    chunk: int
    image_fit: ImageFit
    relative: bool
    size: Size = "nano"

    @property
    def robots(self) -> tuple[RobotSpec, ...]:
        """The robots of the datasets, each once."""
        return tuple({draft.robot.embodiment: draft.robot for draft in self.datasets}.values())

    @property
    def state_dim(self) -> int:
        """Of the widest robot."""
        return max(robot.observation.state_dim for robot in self.robots)

    @property
    def action_dim(self) -> int:
        """Of the widest robot."""
        return max(robot.action.dim for robot in self.robots)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Cameras of the model, the primary one first: those of all robots, whose primary ones share a place."""
        first = self.datasets[0].cameras[0]
        seen = {first: None}
        for draft in self.datasets:
            own = draft.cameras if first in draft.cameras else draft.cameras[1:]
            seen |= dict.fromkeys(own)
        return tuple(seen)

    @property
    def images(self) -> tuple[str, ...]:
        """The cameras' current images, as models name them."""
        return tuple(str(ImageKey(camera)) for camera in self.cameras)

    @property
    def sides(self) -> Mapping[str, int]:
        """Image -> pixels along each side at which a nano model reads it."""
        return {image: OTHER_SIDE if index else PRIMARY_SIDE for index, image in enumerate(self.images)}

    @property
    def chunk_seconds(self) -> str:
        """How far a chunk reaches, for each rate."""
        rates = dict.fromkeys(robot.action.rate_hz for robot in self.robots)
        return " or ".join(f"{self.chunk / rate:.2g} s" for rate in rates)


def last_episodes(count: int) -> str:
    """The last tenth of a dataset's episodes, at least one. ValueError for a dataset of a single episode."""
    if count < 2:
        raise ValueError("the dataset has a single episode; record a second one, because one is held out of training")
    return f"{count - max(1, round(count / 10))}:{count}"


def default_chunk(rate_hz: float, shortest: int) -> int:
    """A second, in control steps, but not more than `MAX_CHUNK` or half of the shortest episode."""
    return max(1, min(round(rate_hz), MAX_CHUNK, shortest // 2))


def recipe_text(draft: RecipeDraft) -> str:
    """Python that `wla train` takes."""
    parts = _PARTS[draft.size]
    names = _numbered(len(draft.datasets))
    given = [each for each in draft.datasets if each.states_robot or parts.needs_robot]
    reads_robot = any(each.robot_name is None for each in given)
    lines = [
        _docstring(draft),
        "",
        *(["from pathlib import Path", ""] if reads_robot else []),
        f"from wla.data import {', '.join(_data_names(draft))}",
        *parts.imports,
        *(["from wla.robots import load_robot"] if any(each.robot_name for each in given) else []),
        *(["from wla.specs import RobotSpec"] if reads_robot else []),
        *parts.training,
        "",
        *(_robot(each, f"ROBOT{name}") for name, each in zip(names, draft.datasets, strict=True) if each in given),
        *(line for name, each in zip(names, draft.datasets, strict=True) for line in _dataset(each, name)),
        "",
        "",
        "def config() -> PolicyTrainConfig:",
        "    return PolicyTrainConfig(",
        *parts.model(draft),
        f"        datasets=({', '.join(f'DATASET{name}' for name in names)}{'' if names[1:] else ','}),",
        *([_RELATIVE] if draft.relative else []),
        f"        replan_steps={max(1, draft.chunk // 2)},  # actions that are executed before the next call",
        "        action_noise=0.0,  # acts in the middle of what it has learned; 1.0 draws from all of it",
        *parts.loop,
        "    )",
    ]
    return "\n".join(lines) + "\n"


def _numbered(count: int) -> list[str]:
    """Endings of the names of several things; a single one needs none."""
    return [f"_{number}" for number in range(1, count + 1)] if count > 1 else [""]


def _docstring(draft: RecipeDraft) -> str:
    robots = ", ".join(_plain(robot.embodiment) for robot in draft.robots)
    rates = " or ".join(dict.fromkeys(f"{robot.action.rate_hz:g}" for robot in draft.robots))
    unknown = dict.fromkeys(field for robot in draft.robots for field in robot.unknown)
    notes = f"\nNot known: {', '.join(unknown)} (see the robot file).\n" if unknown else ""
    if len(draft.robots) > 1:
        notes += "\nOne policy for all of these robots: prompts name the robot, states and actions are as wide as the\n"
        notes += "widest, and each has ranges of its own.\n"
    offline = "".join(
        f"    wla eval-offline run --dataset {_plain(each.dataset)} --out offline{name}\n"
        for name, each in zip(_numbered(len(draft.datasets)), draft.datasets, strict=True)
    )
    episodes = sum(each.episodes for each in draft.datasets)
    return (
        f'"""A policy for {robots}, from {episodes} episodes at {rates} Hz.\n\n'
        f"    wla train {draft.out} --out run\n{offline}{notes}\n"
        'Every field and its meaning: wla train --help after the name of this file.\n"""'
    )


def _dataset(draft: DatasetDraft, ending: str) -> list[str]:
    columns = draft.columns.model_dump(exclude_defaults=True)
    return [
        f"DATASET{ending} = DatasetConfig(",
        f"    path={_quoted(draft.dataset)},",
        *([f"    columns=Columns({_keywords(columns)}),"] if columns else []),
        *([f"    robot=ROBOT{ending},"] if draft.states_robot else []),
        f"    validation_episodes={_quoted(draft.held_out)},  # of {draft.episodes}; never trained on",
        ")",
    ]


def _quoted(text: str) -> str:
    """A foreign text as a Python literal: JSON strings are ones."""
    return json.dumps(text)


def _plain(text: str) -> str:
    """A foreign text inside a docstring."""
    return text.encode("unicode_escape").decode().replace('"', r"\"")


def _robot(draft: DatasetDraft, name: str) -> str:
    if draft.robot_name is not None:
        return f"{name} = load_robot({_quoted(draft.robot_name)})  # of an installed package: wla list robots"
    path = f"Path({_quoted(draft.dataset)}) / 'meta/wla_robot.json'"
    if draft.robot_file is not None:
        path = f"Path(__file__).with_name({_quoted(draft.robot_file)})"
    return f"{name} = RobotSpec.load({path})  # names, units, rate, limits: to be corrected there"


def _keywords(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def _data_names(draft: RecipeDraft) -> list[str]:
    relative = ["ActionRepresentationConfig", "RelativeActionsConfig"] if draft.relative else []
    augmentation = ["ImageAugmentation"] if draft.size == "nano" else []
    columns = ["Columns"] if any(each.columns != Columns() for each in draft.datasets) else []
    return sorted(["DatasetConfig", *augmentation, *relative, *columns])


_RELATIVE = (
    "        action_representation=ActionRepresentationConfig(relative=RelativeActionsConfig()),"
    "  # offsets from the state"
)


def _nano_model(draft: RecipeDraft) -> list[str]:
    sides = ", ".join(f"{_quoted(image)}: {side}" for image, side in draft.sides.items())
    return [
        "        model=nano_model(",
        f"            state_dim={draft.state_dim},",
        f"            action_dim={draft.action_dim},",
        f"            chunk={draft.chunk},  # actions that are predicted at once: {draft.chunk_seconds}",
        f"            cameras={{{sides}}},  # the primary one first; pixels that are read, a multiple of 16",
        f"            image_fit={_quoted(draft.image_fit)},  # how they become squares: pad, crop or stretch",
        "        ),",
        '        init=FromBackbone(backbone="nano-base", codec="nano-tabletop"),',
    ]


def _small_model(draft: RecipeDraft) -> list[str]:
    return [
        "        model=small_model(",
        f"            state_dim={draft.state_dim},",
        f"            action_dim={draft.action_dim},",
        f"            chunk={draft.chunk},  # actions that are predicted at once: {draft.chunk_seconds}",
        f"            cameras={draft.images!r},  # the primary one first",
        f"            image_fit={_quoted(draft.image_fit)},  # how they become squares: pad, crop or stretch",
        "        ),",
        "        # From a published backbone: vlm='256M' above, and init=FromSmolVLM(vlm=FOLDER, codec=.., prompt=..).",
        '        init=FromScratch(codec="nano-tabletop", prompt=SMALL_PROMPT),',
    ]


def _wla0_model(draft: RecipeDraft) -> list[str]:
    return [
        f"        model=wla0_model(ROBOT, chunk={draft.chunk}),  # {draft.chunk_seconds}",
        "        init=FromPretrained(vlm=VLM, sana=SANA, prompt=plain_prompt()),",
    ]


@dataclass(frozen=True)
class _Parts:
    """The lines of a size. needs_robot: whether its model is made from the robot."""

    imports: tuple[str, ...]
    training: tuple[str, ...]
    model: Callable[[RecipeDraft], list[str]]
    loop: tuple[str, ...]
    needs_robot: bool = False


_PARTS: Mapping[Size, _Parts] = {
    "nano": _Parts(
        imports=("from wla.presets import NANO_POLICY_MATRICES, nano_model",),
        training=("from wla.training import FromBackbone, LoopConfig, OptimConfig, PolicyTrainConfig",),
        model=_nano_model,
        loop=(
            "        image_augmentation=ImageAugmentation(),  # random crops and colours: episodes are few",
            "        loop=LoopConfig(",
            "            optim=OptimConfig(",
            "                steps=700,",
            "                learning_rate=1e-3,",
            "                final_learning_rate=2e-5,",
            "                warmup=50,",
            "                weight_decay=0.01,",
            "                muon=NANO_POLICY_MATRICES,",
            "            ),",
            "            batch_size=64,",
            "            validation_every=200,  # steps between two losses on the held-out episodes",
            "        ),",
        ),
    ),
    "small": _Parts(
        imports=("from wla.presets import SMALL_PROMPT, small_model",),
        training=("from wla.training import FromScratch, LoopConfig, OptimConfig, PolicyTrainConfig",),
        model=_small_model,
        loop=(
            "        loop=LoopConfig(",
            "            optim=OptimConfig(steps=20_000, learning_rate=3e-4, final_learning_rate=3e-6),",
            "            batch_size=64,",
            "            validation_every=1000,  # steps between two losses on the held-out episodes",
            "        ),",
        ),
    ),
    "wla0": _Parts(
        imports=("from wla.presets import plain_prompt, wla0_model", "from wla.presets.wla0 import SANA, VLM"),
        training=("from wla.training import FromPretrained, LoopConfig, OptimConfig, PolicyTrainConfig",),
        model=_wla0_model,
        loop=(
            "        activation_checkpointing=True,",
            '        dtype="bfloat16",',
            "        loop=LoopConfig(",
            "            optim=OptimConfig(steps=20_000), batch_size=64, micro_batches=8, validation_every=1000",
            "        ),",
        ),
        needs_robot=True,
    ),
}
