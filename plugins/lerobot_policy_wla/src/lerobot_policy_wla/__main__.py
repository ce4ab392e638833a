"""Policies between wla and LeRobot: `wla-lerobot to-lerobot POLICY FOLDER`, `wla-lerobot to-wla FOLDER CHECKPOINT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lerobot.configs import FeatureType, PolicyFeature
from lerobot.utils.constants import ACTION, OBS_STATE

from lerobot_policy_wla.batches import camera_key
from lerobot_policy_wla.configuration_wla import WlaConfig
from lerobot_policy_wla.folder import to_wla
from lerobot_policy_wla.modeling_wla import WlaPolicy
from lerobot_policy_wla.processor_wla import make_wla_pre_post_processors
from wla.policy import Checkpoint, fetch_checkpoint


def to_lerobot(name: str, folder: Path) -> None:
    """Writes a policy of wla (bundled name, folder or hub id) as a folder for `--policy.path`.

    ValueError where there is no such policy, or the folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder}: exists already; name a new folder, or remove it first")
    checkpoint = fetch_checkpoint(name)
    action = PolicyFeature(FeatureType.ACTION, (checkpoint.robot.spec.action.dim,))
    config = WlaConfig(
        checkpoint=name, input_features=_inputs(checkpoint), output_features={ACTION: action}, push_to_hub=False
    )
    WlaPolicy(config, checkpoint=checkpoint).save_pretrained(folder)
    for pipeline in make_wla_pre_post_processors(config):
        pipeline.save_pretrained(folder)


def _inputs(checkpoint: Checkpoint) -> dict[str, PolicyFeature]:
    robot = checkpoint.robot.spec
    inputs = {
        camera_key(camera): PolicyFeature(FeatureType.VISUAL, (3, *size))
        for camera, size in robot.observation.cameras.items()
    }
    if robot.observation.state_dim:
        inputs[OBS_STATE] = PolicyFeature(FeatureType.STATE, (robot.observation.state_dim,))
    return inputs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns its exit status."""
    parser = argparse.ArgumentParser(prog="wla-lerobot", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    there = commands.add_parser("to-lerobot", help="write a policy of wla as a folder for LeRobot's --policy.path")
    there.add_argument("policy", help="a bundled name, a folder or a hub id")
    there.add_argument("folder", type=Path, help="a new folder")
    back = commands.add_parser("to-wla", help="write a policy that lerobot-train made as a checkpoint of wla")
    back.add_argument("folder", type=Path, help="pretrained_model of a checkpoint of lerobot-train")
    back.add_argument("checkpoint", type=Path, help="a new folder")
    options = parser.parse_args(arguments)
    try:
        if options.command == "to-lerobot":
            to_lerobot(options.policy, options.folder)
        else:
            to_wla(options.folder, options.checkpoint)
    except (ValueError, OSError) as error:
        print(f"wla-lerobot: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
