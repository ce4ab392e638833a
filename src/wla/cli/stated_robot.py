"""The robot of a dataset as its owner states it in the options of a command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wla.specs import Frame

if TYPE_CHECKING:
    from wla.data.lerobot.reader import LeRobotDataset
    from wla.data.robot_file import Kind
    from wla.specs import RobotSpec


class RobotOptions(Protocol):
    """Options that state what a dataset does not: units and frame of its numbers, the gripper's sign, a name."""

    @property
    def units(self) -> tuple[str, ...]: ...
    @property
    def state_units(self) -> tuple[str, ...]: ...
    @property
    def frame(self) -> Frame: ...
    @property
    def gripper(self) -> str: ...
    @property
    def name(self) -> str | None: ...


def stated_robot(
    dataset: LeRobotDataset, options: RobotOptions, *, kinds: Sequence[Kind], cameras: Sequence[str] = ()
) -> RobotSpec:
    """Returns the robot of a dataset; see `wla.data.robot_file.robot_of`. ValueError when the options do not fit it."""
    from wla.data.robot_file import robot_of

    return robot_of(
        dataset,
        kinds=kinds,
        units=options.units,
        state_units=options.state_units,
        frame=options.frame,
        gripper=options.gripper,
        name=options.name,
        cameras=cameras,
    )
