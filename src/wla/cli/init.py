"""`wla init`: a mapping file, with which a gymnasium environment can be used wherever an environment is named."""

from __future__ import annotations

from pathlib import Path

from wla.cli.command import CliArgs, Command


class InitArgs(CliArgs):
    """Look at a gymnasium environment once and write the mapping file that --env takes, with what it shows filled in.

    What the environment does not show is marked with TODO: usually the instruction and what counts as success. The
    image of each camera is written beside the file: upside_down is for those that are.

    examples:
      wla init --env CarRacing-v3 --out car.toml
      wla init --env my_package.envs:my_package/Reach-v0 --out reach.toml
      wla eval random --env reach.toml --episodes 5 --out outputs/reach
    """

    env: str
    """Gymnasium id, as MODULE:ID where importing a module registers it."""
    out: Path
    """File to write (.toml)."""


def init(args: InitArgs) -> int:
    from PIL import Image

    from wla.envs.gym.draft_file import mapping_text
    from wla.envs.gym.family import require_registered
    from wla.envs.gym.inspect import inspect_gym
    from wla.files import atomic_write_text, disk_errors

    if args.out.suffix != ".toml":
        raise ValueError(f"{args.out}: a mapping file ends in .toml")
    if args.out.exists():
        raise ValueError(f"{args.out} is there already; remove it or choose another --out")
    require_registered(args.env)
    draft = inspect_gym(args.env)
    with disk_errors(args.out, "choose another --out"):
        args.out.parent.mkdir(parents=True, exist_ok=True)
        for camera, image in draft.images.items():
            Image.fromarray(image).save(args.out.with_name(f"{args.out.stem}_{camera}.png"))
        atomic_write_text(args.out, mapping_text(draft))
    todo = f"fill in what it leaves open ({', '.join(draft.missing)})" if draft.missing else "complete"
    print(f"{args.out}: {todo}")
    return 0


INIT = {"init": Command(InitArgs, init)}
