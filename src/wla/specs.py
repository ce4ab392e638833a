"""What the numbers of a robot mean: names, units, frames, rates. A mismatch raises; it never only warns."""

from __future__ import annotations

from typing import Literal

from wla.config import Config


class ActionSpec(Config):
    """One action vector. names, units, kinds, low and high have one entry per dimension."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    kinds: tuple[Literal["delta", "absolute"], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    frame: Literal["world", "tool", "joint"]
    gripper: str
    """Sign convention of the gripper, e.g. '-1 open .. 1 closed'."""
    rate_hz: float

    @property
    def dim(self) -> int:
        return len(self.names)


class ObservationSpec(Config):
    """Cameras (name -> (height, width), the first one is the primary camera) and the state vector."""

    cameras: dict[str, tuple[int, int]]
    state_names: tuple[str, ...]
    state_units: tuple[str, ...]
    state_frame: Literal["world", "tool", "joint"]

    @property
    def state_dim(self) -> int:
        return len(self.state_names)

    @property
    def primary_camera(self) -> str:
        return next(iter(self.cameras))


class RobotSpec(Config):
    """A robot as a policy meets it: travels inside datasets and checkpoints and is compared whenever two meet."""

    embodiment: str
    action: ActionSpec
    observation: ObservationSpec

    def require_equal(self, other: RobotSpec, *, ours: str, theirs: str) -> None:
        """Raise ValueError naming the first differing field; `ours` and `theirs` say whose specs they are."""
        mine, its = _flat(self.model_dump()), _flat(other.model_dump())
        for key in sorted(mine.keys() | its.keys()):
            if mine.get(key) != its.get(key):
                raise ValueError(
                    f"{ours} and {theirs} are for different robots: {key} is {mine.get(key)!r} in {ours} and "
                    f"{its.get(key)!r} in {theirs}. Use a policy, dataset and environment of the same robot."
                )


def _flat(tree: dict, prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat
