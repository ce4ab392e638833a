"""`wla init`: the file that a road begins with: a recipe, a mapping of a gymnasium environment, or a package."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wla.cli.command import CliArgs, Command
from wla.envs.registry import is_gym_id
from wla.presets.names import Size
from wla.specs import UNKNOWN, Frame, ImageFit

Kind = Literal["absolute", "delta"]


class InitArgs(CliArgs):
    """Write the file that a road begins with: a dataset's recipe, a gymnasium environment's mapping, or a package.

    DATASETS, LeRobot datasets that somebody else recorded, are not changed: beside the recipe OUT a robot file
    (NAME_robot.json) states what a dataset does not: units, frames, the gripper's sign. What the data do not show is
    asked on a terminal or given as an option, for all of them alike; what nobody states is `unknown`, and nothing that
    drives a robot takes it. The last tenth of the episodes is held out of training. Datasets of several robots make one
    policy for all of these: prompts name the robot, and the model is as wide as the widest.

    With --env GYM_ID the file is the one that --env of other commands takes. What the environment does not show is
    marked with TODO; the image of each camera is written beside it.

    With --env NAME, --robot NAME or both, the folder OUT becomes a small package with an environment family and its
    robot, or with a robot alone, commented and working: `wla list` shows them after `pip install -e OUT`, or with OUT
    on PYTHONPATH, and every command takes their names.

    examples:
      wla init mine --action absolute --out mine.py
      wla init mine --action absolute --primary front --cameras front wrist --units rad --frame joint --out mine.py
      wla init mine --robot six_axis_arm --out mine.py
      wla init datasets/left_lab datasets/right_lab --out both.py
      wla init --env CarRacing-v3 --out car.toml
      wla init --env my_package.envs:my_package/Reach-v0 --out reach.toml
      wla init --env reach --robot two_axis_arm --out reach_sim
      wla init --robot six_axis_arm --out my_robots
    """

    datasets: tuple[Path, ...] = ()
    """Folders of LeRobot datasets (v2.0, v2.1, v3.0), or ids on the Hugging Face hub (downloaded into its cache): of
    one robot, or of several that one policy is for, identified by name."""
    out: Path
    """To write: a recipe (.py), a mapping (.toml), or the folder of a package. It must not exist."""
    action: tuple[Kind, ...] = ()
    """Dataset: whether an action is a target (absolute) or a change (delta); once, or for each dimension."""
    primary: str | None = None
    """Dataset: the camera whose future the policy imagines; the first one when left out."""
    cameras: tuple[str, ...] = ()
    """Dataset: the cameras that the policy sees, at most 4; all when left out."""
    image_fit: ImageFit = "pad"
    """Dataset: how images become squares: padded with black, cropped to their middle, or stretched."""
    state: tuple[str, ...] = ("observation.state",)
    """Dataset: columns of the state, joined in this order; `none` for a dataset without one."""
    action_columns: tuple[str, ...] = ("action",)
    """Dataset: columns of the action, joined in this order."""
    chunk: int | None = Field(default=None, ge=1)
    """Dataset: actions that are predicted at once; about a second when left out."""
    size: Size = "nano"
    """Dataset: size of the model; small is for one GPU (docs/guides/small.md), wla0 the published one, for several."""
    name: str | None = None
    """Dataset: name of the robot; the dataset's own when left out."""
    units: tuple[str, ...] = Field(default=(UNKNOWN,), min_length=1)
    """Dataset: units of the actions, once or for each dimension, such as m or rad."""
    state_units: tuple[str, ...] = Field(default=(UNKNOWN,), min_length=1)
    """Dataset: units of the state, once or for each dimension."""
    frame: Frame = UNKNOWN
    """Dataset: frame in which actions and states are given."""
    gripper: str = UNKNOWN
    """Dataset: sign of the gripper, e.g. '0 closed .. 1 open'."""
    robot: str | None = None
    """Dataset: its robot, a name of `wla list robots`, instead of a robot file. Package: name of the new robot."""
    env: str | None = None
    """Gymnasium id, as MODULE:ID where importing a module registers it; or the name of a new environment family."""


def init(args: InitArgs) -> int:
    if not args.datasets and args.env is None and args.robot is None:
        raise ValueError("name one thing to begin with: DATASETS, --env or --robot (see wla init --help)")
    if args.datasets and args.env is not None:
        raise ValueError("name one thing to look at: DATASETS, or --env ID (see wla init --help)")
    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another --out")
    if args.datasets:
        from wla.cli.init_dataset import init_dataset

        return init_dataset(args)
    if args.env is not None and (is_gym_id(args.env) or args.out.suffix == ".toml"):
        if args.robot is not None:
            raise ValueError("--robot is for a dataset or a new package; a mapping states its robot itself")
        return _init_mapping(args.env, args.out)
    from wla.cli.init_package import init_package

    return init_package(args.env, args.robot, args.out)


def _init_mapping(env: str, out: Path) -> int:
    from PIL import Image

    from wla.envs.gym.draft_file import mapping_text
    from wla.envs.gym.family import require_registered
    from wla.envs.gym.inspect import inspect_gym
    from wla.files import atomic_write_text, disk_errors

    if out.suffix != ".toml":
        raise ValueError(f"{out}: a mapping file ends in .toml")
    require_registered(env)
    draft = inspect_gym(env)
    with disk_errors(out, "choose another --out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        for camera, image in draft.images.items():
            Image.fromarray(image).save(out.with_name(f"{out.stem}_{camera}.png"))
        atomic_write_text(out, mapping_text(draft))
    todo = f"fill in what it leaves open ({', '.join(draft.missing)})" if draft.missing else "complete"
    print(f"{out}: {todo}")
    return 0


INIT = {"init": Command(InitArgs, init, positional=("datasets",))}
