"""`wla data ...`: parsing and printing for the tools around datasets."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field

from wla.annotate.configs import LabelActionsConfig
from wla.cli.cache_latents import CACHE_LATENTS
from wla.cli.command import CliArgs, Command, Group
from wla.cli.dataset_columns import ColumnArgs
from wla.cli.names import find_dataset, require_dataset, require_own_folder, require_path
from wla.cli.stated_robot import stated_robot
from wla.cli.view import VIEW
from wla.policy.hub import find
from wla.specs import UNKNOWN, Frame

if TYPE_CHECKING:
    from rich.console import Console

    from wla.data.normalize import VectorStatistics

HELP = """usage: wla data COMMAND [options]

{summary}

{commands}

examples:
  wla data convert raw/beat_block_hammer --out datasets/hammer   raw RoboTwin or RMBench episodes, or LeRobot v2.1
  wla data check datasets/hammer                                 every problem at once, before training meets the first
  wla data cache-latents datasets/hammer --codec outputs/hammer/checkpoint
                                                                 frames as the image codec sees them, encoded once
  wla data clear-cache datasets/hammer                           removes decoded frames and latents
  wla data robot downloads/pusht --kind absolute                 states what the actions of others mean
  wla data view datasets/hammer --out hammer.html                its episodes in a browser: videos, curves, subtasks
  wla data stats datasets/hammer --out datasets/stats.json       ranges of states and actions
  wla data from-videos clips --size 96 --out datasets/clips      plain videos, for the world model
  wla data label-actions outputs/nano_inverse/checkpoint --dataset datasets/videos --out datasets/videos.parquet
                                                                 pseudo-actions for the robot's own videos

`wla data COMMAND --help` shows options and examples.
"""


class ConvertArgs(CliArgs):
    """Write a dataset of another format as a new LeRobot v3.0 dataset.

    SOURCE is recognised by its files: a LeRobot v2.1 folder (its columns, videos and statistics are kept as they
    are), or raw episodes (HDF5; needs pip install h5py): RoboTwin and RMBench (data/episode0.hdf5, or the present
    data/episode_0000000.hdf5), ALOHA (episode_0.hdf5), LIBERO (*_demo.hdf5; images turned upright, actions as
    recorded). Phrasings of instructions go into OUT/instructions.json, subtasks of an annotation into the column
    subtask_text. OUT appears when everything is written: after Ctrl-C or an error nothing is left behind.

    examples:
      wla data convert downloads/pusht_v21 --out datasets/pusht
      wla data convert data/beat_block_hammer/demo_clean --out datasets/hammer
      wla data convert data/beat_block_hammer/demo_clean --action endpose --out datasets/hammer_poses
      wla data convert recordings/fold --from aloha --task "fold the towel" --out datasets/fold
      wla data convert LIBERO/libero_goal --from libero --out datasets/libero_goal
    """

    source: Path
    """Folder of a LeRobot v2.1 dataset, or of raw episodes."""
    out: Path
    """Folder of the new dataset."""
    from_: Literal["lerobot", "robotwin", "aloha", "libero"] | None = None
    """Layout of SOURCE; recognised by its files when left out."""
    action: Literal["joint", "endpose"] | None = None
    """RoboTwin: 14 joints (joint, the default) or 16 numbers of the hands' poses (endpose)."""
    fps: float | None = Field(default=None, gt=0)
    """Raw episodes: frames per second; when left out, what they state, or 30 (RoboTwin), 50 (ALOHA), 20 (LIBERO)."""
    task: str | None = None
    """ALOHA: the instruction, which its files do not contain."""


class FromVideosArgs(CliArgs):
    """Write plain videos (of people, of any robot) as a LeRobot dataset without actions.

    Every file is an episode and its name the instruction: "pick up the cup" for 'pick_up_the_cup_03.mp4'; or a CSV
    file,caption[,start,end] lists clips, in seconds. Where the image changes at once, an episode ends and a new one
    begins. A recipe takes the dataset with `DatasetConfig(path=..., actions=False)`.

    examples:
      wla data from-videos clips --out datasets/clips
      wla data from-videos clips --captions clips.csv --fps 10 --size 96 --out datasets/clips
    """

    source: Path
    """Folder of videos, searched with its subfolders."""
    out: Path
    """Folder of the new dataset."""
    captions: Path | None = None
    """CSV file of clips and captions."""
    fps: float = Field(default=10.0, gt=0)
    """Frames per second to keep: best those of the robot that is to learn from them."""
    size: int = Field(default=256, ge=16)
    """Pixels along each side; the image is fitted in, the rest is black."""
    cuts: bool = True
    """Look for cuts."""


class LabelActionsArgs(LabelActionsConfig):
    """Label a robot's videos with pseudo-actions, by inverse dynamics learned from its episodes with actions.

    A recipe then learns from the videos too: `DatasetConfig(path=..., actions=False, pseudo_actions=...)`. Dimensions
    that the frames do not determine are left out. For a dataset that has actions, the error is printed as well.

    examples:
      wla train nano_inverse
      wla data label-actions outputs/nano_inverse/checkpoint --dataset datasets/videos --out datasets/videos.parquet
    """


class CheckArgs(ColumnArgs):
    """Look through a whole dataset and list every problem: files, videos, times, numbers, texts.

    Decodes all images. Exits with 1 when there are errors; warnings are worth a look.

    examples:
      wla data check datasets/place
      wla data check downloads/their_dataset --state observation.qpos
    """

    dataset: Path
    """Folder of a LeRobot dataset (v2.0, v2.1, v3.0), or its id on the Hugging Face hub."""


class ClearCacheArgs(CliArgs):
    """Remove decoded frames and latents that training keeps in DATASET/.cache; they are made again when needed.

    examples:
      wla data clear-cache datasets/place
      wla data clear-cache datasets/*
    """

    datasets: tuple[Path, ...] = Field(min_length=1)
    """Folders of LeRobot v3.0 datasets."""


class RobotArgs(ColumnArgs):
    """Write the robot file of a dataset that another program recorded, which training with actions needs.

    LeRobot stores neither what an action means nor its unit. Here you state it; names, cameras and rate come from the
    dataset, and the limits are the ranges of its actions. The result is DATASET/meta/wla_robot.json or, with --out, a
    file of yours: a text file that can be corrected. Datasets and policies are only combined when these files are
    equal.

    examples:
      wla data robot downloads/pusht --kind absolute --units px --frame world
      wla data robot downloads/libero --kind delta delta delta delta delta delta absolute --frame tool
      wla data robot lerobot/pusht --kind absolute --units px --frame world --out pusht.robot.json
    """

    dataset: Path
    """Folder of a LeRobot dataset (v2.0, v2.1, v3.0), or its id on the Hugging Face hub."""
    out: Path | None = None
    """File for the robot, for `DatasetConfig(.., robot=RobotSpec.load(Path(..)))` in a recipe; the dataset's own when
    left out, which a dataset of the hub has not."""
    kind: tuple[Literal["absolute", "delta"], ...] = Field(min_length=1)
    """Whether an action is a target (absolute) or a change (delta): once for all dimensions, or for each of them."""
    units: tuple[str, ...] = Field(default=(UNKNOWN,), min_length=1)
    """Units of the actions: once, or for each dimension, such as m or rad."""
    state_units: tuple[str, ...] = Field(default=(UNKNOWN,), min_length=1)
    """Units of the state: once, or for each dimension."""
    frame: Frame = UNKNOWN
    """Frame in which actions and states are given."""
    gripper: str = UNKNOWN
    """Sign of the gripper, e.g. '0 closed .. 1 open'."""
    name: str | None = None
    """Name of the robot; the dataset's own when left out."""
    cameras: tuple[str, ...] = ()
    """The first cameras, the primary one in front; the dataset's order when left out."""


class StatsArgs(ColumnArgs):
    """Print minimum, maximum, mean and standard deviation of each dimension of state and action.

    With --out the ranges are written as JSON: one entry per dataset, with the name of its folder, or a single one for
    all of them together (--name). Other entries that the file has already are kept.

    examples:
      wla data stats datasets/place
      wla data stats datasets/place datasets/stack --out datasets/stats.json
      wla data stats datasets/place datasets/stack --name tabletop --out datasets/stats.json
    """

    datasets: tuple[Path, ...] = Field(min_length=1)
    """Folders of LeRobot datasets (v2.0, v2.1, v3.0), or their ids on the Hugging Face hub."""
    out: Path | None = None
    """JSON file to write the ranges into."""
    name: str | None = None
    """One entry of this name over all the datasets."""


def convert(args: ConvertArgs) -> int:
    require_path(args.source, "folder")
    from wla.compat.convert import convert

    count = convert(args.source, args.out, layout=args.from_, action=args.action, fps=args.fps, task=args.task)
    print(f"{args.out}: {count} episodes")
    return 0


def from_videos(args: FromVideosArgs) -> int:
    require_path(args.source, "folder")
    if args.captions is not None:
        require_path(args.captions, "CSV file")
    from wla.compat.videos import convert_videos

    count, left_out = convert_videos(
        args.source, args.out, fps=args.fps, side=args.size, captions=args.captions, cuts=args.cuts
    )
    for line in left_out:
        print(f"left out: {line}")
    print(f"{args.out}: {count} episodes")
    return 0


def label_actions(args: LabelActionsArgs) -> int:
    find(args.inverse, "inverse dynamics model")
    args = args.replace(dataset=find_dataset(args.dataset))
    from wla.annotate.inverse_dynamics import label_actions

    found = label_actions(args)
    print(f"{args.out}: the actions of {found.frames} frames")
    if found.unknown:
        print(f"not determined by the frames, left out: {', '.join(found.unknown)}")
    if found.mean_absolute_error:
        print(
            f"mean absolute error: {', '.join(f'{name} {each:g}' for name, each in found.mean_absolute_error.items())}"
        )
    return 0


def check(args: CheckArgs) -> int:
    folder = find_dataset(args.dataset)
    from wla.data.validation.dataset import check
    from wla.data.validation.issues import count_errors, count_warnings, issues_table

    issues = check(folder, args.columns)
    if issues:
        _console().print(issues_table(issues))
    errors = count_errors(issues)
    print(f"{args.dataset}: {errors} errors, {count_warnings(issues)} warnings")
    return 1 if errors else 0


def clear_cache(args: ClearCacheArgs) -> int:
    for path in args.datasets:
        require_dataset(path)
    from wla.data.video.frame_cache import clear_caches

    for path in args.datasets:
        print(f"{path}: {clear_caches(path) / 1e6:.1f} MB removed")
    return 0


def robot(args: RobotArgs) -> int:
    if args.out is None:
        require_own_folder(args.dataset)
    folder = find_dataset(args.dataset)
    from wla.data.lerobot.reader import LeRobotDataset
    from wla.data.robot_file import robot_file, write_robot
    from wla.progress import notes

    dataset = LeRobotDataset(folder, columns=args.columns)
    notes(dataset.root, dataset.notes)
    spec = stated_robot(dataset, args, kinds=args.kind, cameras=args.cameras)
    path = write_robot(args.out or robot_file(dataset), spec)
    print(f"{path}: robot {spec.embodiment!r}, {spec.action.dim} action dimensions; read it through, and correct it")
    return 0


def stats(args: StatsArgs) -> int:
    folders = [find_dataset(path) for path in args.datasets]
    from wla.data.hub_snapshots import dataset_name
    from wla.data.lerobot.reader import LeRobotDataset
    from wla.data.normalize import compute_statistics
    from wla.data.published_statistics import write_published
    from wla.progress import progress_bar

    groups: dict[str, list[LeRobotDataset]] = {}
    with progress_bar() as progress:
        for folder in progress.track(folders, description="reading"):
            name = args.name or dataset_name(folder)
            groups.setdefault(name, []).append(LeRobotDataset(folder, columns=args.columns))
    if args.name is None and len(groups) < len(args.datasets):
        raise ValueError("two of the datasets have folders of the same name; give --name, or one of them at a time")
    entries = {name: compute_statistics(group) for name, group in groups.items()}
    for name, statistics in entries.items():
        first = groups[name][0]
        for columns, names, vector in (
            (first.columns.state, first.state_names, statistics.state),
            (first.columns.action, first.action_names, statistics.action),
        ):
            if vector is not None and columns:
                _print_vector(f"{name}: {' + '.join(columns)}", vector, names)
    if args.out is not None:
        write_published(args.out, entries)
        print(f"{args.out}: {', '.join(entries)}")
    return 0


def _print_vector(title: str, vector: VectorStatistics, names: Sequence[str]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from wla.data.normalize import QUANTILES, NormalizationMode, Normalizer

    known = vector.known
    shown = ("min", *QUANTILES, "max", "mean", "std")
    table = Table("dimension", *shown, title=f"{escape(title)}, {vector.count} frames")
    for name, row in zip(names, zip(*(known[each] for each in shown), strict=True), strict=True):
        table.add_row(escape(name), *(f"{value:.4g}" for value in row))
    _console().print(table)
    modes: tuple[NormalizationMode, ...] = get_args(NormalizationMode)
    notes = (Normalizer(vector, mode, name=title, dimensions=list(names)).notes for mode in modes)
    for note in dict.fromkeys(chain.from_iterable(notes)):
        print(note)


def _console() -> Console:
    from rich.console import Console

    # In a file or pipe there is no edge of a screen to break lines at; a table takes what its words need.
    return Console() if sys.stdout.isatty() else Console(width=1000)


DATA = Group(
    "Convert, check and measure datasets.",
    HELP,
    {
        "convert": Command(ConvertArgs, convert, positional=("source",)),
        "from-videos": Command(FromVideosArgs, from_videos, positional=("source",)),
        "label-actions": Command(LabelActionsArgs, label_actions, positional=("inverse",)),
        "check": Command(CheckArgs, check, positional=("dataset",)),
        **CACHE_LATENTS,
        "clear-cache": Command(ClearCacheArgs, clear_cache, positional=("datasets",)),
        "robot": Command(RobotArgs, robot, positional=("dataset",)),
        **VIEW,
        "stats": Command(StatsArgs, stats, positional=("datasets",)),
    },
)
