"""`wla init DATASET`: a recipe and a robot file from what a dataset states and what its owner answers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wla.cli.names import open_dataset
from wla.cli.stated_robot import stated_robot
from wla.data.lerobot.columns import Columns
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.robot_file import follows_state, require_cameras
from wla.files import atomic_write_text, disk_errors
from wla.presets.dataset_recipe import (
    MAX_CAMERAS,
    DatasetDraft,
    RecipeDraft,
    default_chunk,
    last_episodes,
    recipe_text,
)
from wla.robots import load_robot
from wla.specs import UNKNOWN, ActionSpec, RobotSpec

if TYPE_CHECKING:
    from wla.cli.init import InitArgs


def init_dataset(args: InitArgs) -> int:
    """Writes recipe and robot files. ValueError when a dataset cannot be used, or a question stays open."""
    if args.out.suffix != ".py":
        raise ValueError(f"{args.out}: a recipe ends in .py")
    found = [_look_at(args, *each) for each in zip(args.datasets, _robot_files(args), strict=True)]
    drafts = tuple(draft for draft, _ in found)
    _require_together(args, drafts)
    chunks = [default_chunk(draft.robot.action.rate_hz, min(map(len, dataset.episodes))) for draft, dataset in found]
    recipe = RecipeDraft(
        out=args.out.name,
        datasets=drafts,
        chunk=args.chunk or min(chunks),
        image_fit=args.image_fit,
        relative=all(follows_state(dataset, draft.robot) for draft, dataset in found),
        size=args.size,
    )
    _require_few(recipe.cameras, "together the datasets have")
    with disk_errors(args.out, "choose another --out"):
        args.out.parent.mkdir(parents=True, exist_ok=True)
        for draft in drafts:
            if draft.robot_file is not None:
                draft.robot.save(args.out.with_name(draft.robot_file))
        atomic_write_text(args.out, recipe_text(recipe))
    print("\n".join(_summary(recipe, args.out)))
    return 0


def _robot_files(args: InitArgs) -> list[Path]:
    """The robot file of each dataset. ValueError where one exists already."""
    endings = [f"_{number}" for number in range(1, len(args.datasets) + 1)] if args.datasets[1:] else [""]
    files = [args.out.with_name(f"{args.out.stem}_robot{ending}.json") for ending in endings]
    for file in files:
        if file.exists():
            raise ValueError(f"{file} is there already; remove it or choose another --out")
    return files


def _look_at(args: InitArgs, folder: Path, robot_file: Path) -> tuple[DatasetDraft, LeRobotDataset]:
    """What the recipe states of a dataset. robot_file: of its robot, where neither it nor --robot states one."""
    columns = Columns(state=args.state, action=args.action_columns)
    given = None if args.robot is None else load_robot(args.robot)
    dataset = open_dataset(folder, columns, given)
    _require_instructions(dataset)
    if sys.stdin.isatty() and dataset.robot_spec is None:
        args = _asked(args, list(dataset.readable_cameras))
    cameras = _cameras(args, dataset)
    own = _own_robot(args, dataset)
    draft = DatasetDraft(
        dataset=str(folder),
        columns=dataset.columns,
        robot=own or _robot(args, dataset, cameras),
        robot_file=None if own else robot_file.name,
        robot_name=args.robot,
        episodes=len(dataset.episodes),
        held_out=last_episodes(len(dataset.episodes)),
        cameras=cameras,
    )
    return draft, dataset


def _require_together(args: InitArgs, drafts: Sequence[DatasetDraft]) -> None:
    """ValueError for several datasets that no recipe can hold together."""
    known: dict[str, DatasetDraft] = {}
    for draft in drafts:
        other = known.setdefault(draft.robot.embodiment, draft)
        try:
            other.robot.require_equal(draft.robot, ours=other.dataset, theirs=draft.dataset)
        except ValueError as error:
            raise ValueError(
                f"{error} Both are called {draft.robot.embodiment!r}: name them apart (`wla data robot DATASET --name`)"
            ) from error
    if len(known) > 1 and args.size == "wla0":
        raise ValueError("--size wla0: is for one robot here; take nano or small for several, or edit such a recipe")


def _require_instructions(dataset: LeRobotDataset) -> None:
    blank = [episode.index for episode in dataset.episodes if not episode.instruction.strip()]
    if blank:
        raise ValueError(
            f"{dataset.root}: episode {blank[0]} has no instruction (its task is empty), and a policy is asked by one; "
            "write what the robot does there into meta/tasks.parquet"
        )


def _own_robot(args: InitArgs, dataset: LeRobotDataset) -> RobotSpec | None:
    """The robot that the dataset states itself; None where it states none. ValueError when an option contradicts it."""
    spec = dataset.robot_spec
    if spec is not None and args.action and _each(args.action, spec.action.dim) != spec.action.kinds:
        raise ValueError(
            f"--action {' '.join(args.action)}: {dataset.root} states its robot, whose actions are "
            f"{_described(spec.action)}; leave --action out"
        )
    return spec


def _each(kinds: tuple[str, ...], dim: int) -> tuple[str, ...]:
    return kinds * dim if len(kinds) == 1 else kinds


def _described(action: ActionSpec) -> str:
    """The kinds of the dimensions: one for all of them, or each with its name."""
    kinds = set(action.kinds)
    if len(kinds) == 1:
        return f"{kinds.pop()} ({', '.join(action.names)})"
    return ", ".join(f"{name} {kind}" for name, kind in zip(action.names, action.kinds, strict=True))


def _robot(args: InitArgs, dataset: LeRobotDataset, cameras: tuple[str, ...]) -> RobotSpec:
    if not args.action:
        raise ValueError(
            "--action is missing: is an action a target (absolute) or a change (delta)? The numbers do not tell "
            "(see wla init --help)"
        )
    spec = stated_robot(dataset, args, kinds=args.action)
    sizes = {camera: dataset.cameras[camera] for camera in cameras}
    return spec.replace(observation=spec.observation.replace(cameras=sizes))


def _cameras(args: InitArgs, dataset: LeRobotDataset) -> tuple[str, ...]:
    """The cameras of the policy, the primary one first. ValueError for one that is not there, and for too many."""
    spec = dataset.robot_spec
    known = dataset.readable_cameras
    known = known if spec is None else tuple(each for each in spec.observation.cameras if each in known)
    primary = tuple(filter(None, [args.primary]))
    require_cameras(dataset, (*primary, *args.cameras), known)
    chosen = tuple(dict.fromkeys((*primary, *(args.cameras or known))))
    _require_few(chosen, f"{dataset.root}: has")
    return chosen


def _require_few(cameras: Sequence[str], who: str) -> None:
    if len(cameras) > MAX_CAMERAS:
        raise ValueError(
            f"{who} {len(cameras)} cameras, a policy sees at most {MAX_CAMERAS}; choose some with "
            f"--cameras ({', '.join(cameras)})"
        )


def _asked(args: InitArgs, cameras: list[str]) -> InitArgs:
    """The arguments with the answers to what is not among them."""
    from rich.prompt import Prompt

    answers: dict[str, object] = {}
    if not args.action:
        text = "Is an action a target (absolute) or a change (delta)"
        answers["action"] = (Prompt.ask(text, choices=["absolute", "delta"]),)
    if args.primary is None and len(args.cameras or cameras) > 1:
        choices = list(args.cameras or cameras)
        answers["primary"] = Prompt.ask("Primary camera, whose future is imagined", choices=choices, default=choices[0])
    if args.frame == UNKNOWN:
        frames = ["world", "tool", "joint", UNKNOWN]
        answers["frame"] = Prompt.ask("Frame of states and actions", choices=frames, default=UNKNOWN)
    if args.units == (UNKNOWN,):
        answers["units"] = tuple(Prompt.ask("Units of the actions: one, or one for each", default=UNKNOWN).split())
    if args.gripper == UNKNOWN:
        answers["gripper"] = Prompt.ask("Sign of the gripper, e.g. '0 closed .. 1 open'", default=UNKNOWN)
    return type(args).model_validate(args.model_dump() | answers)


def _summary(recipe: RecipeDraft, path: Path) -> list[str]:
    files = [str(path.with_name(each.robot_file)) for each in recipe.datasets if each.robot_file]
    return [
        *(line for draft in recipe.datasets for line in _dataset_summary(draft)),
        *(["robots:   one policy for all, identified by name"] if len(recipe.robots) > 1 else []),
        *(["learned:  targets as offsets from the state (the gripper's as they are)"] if recipe.relative else []),
        f"chunk:    {recipe.chunk} actions, {recipe.chunk_seconds}",
        f"recipe:   {path}",
        *([f"robot file: {', '.join(files)}; read through, and correct"] if files else []),
    ]


def _dataset_summary(draft: DatasetDraft) -> list[str]:
    robot, observation, action = draft.robot, draft.robot.observation, draft.robot.action
    sizes = [f"{camera} ({' x '.join(map(str, observation.cameras[camera]))})" for camera in draft.cameras]
    others = f"; beside it {', '.join(sizes[1:])}" if sizes[1:] else ""
    first, _, end = draft.held_out.partition(":")
    return [
        f"robot:    {robot.embodiment}, {action.rate_hz:g} Hz",
        f"action:   {action.dim} numbers, {_described(action)}",
        f"state:    {observation.state_dim} numbers ({', '.join(observation.state_names) or 'none'})",
        f"cameras:  primary {sizes[0]}{others}",
        f"episodes: {draft.episodes}, of which {first} .. {int(end) - 1} are held out of training",
        f"unknown:  {', '.join(robot.unknown) or 'nothing'}",
    ]
