"""Robots that LeRobot has a driver for. LeRobot itself is needed only when one is opened.

Its drivers state names of numbers and cameras, but neither units nor frames: the numbers are taken to be those of the
policy's robot of the same names, and a file of the robot's owner says in which unit the driver has them.
"""

from __future__ import annotations

import pkgutil
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float32
from pydantic import Field, ValidationError

from wla.config import Config
from wla.data.images import fit_image
from wla.files import read_text
from wla.foreign import one_line
from wla.robots.safety_limits import SafetyLimits
from wla.robots.units import conversion
from wla.specs import RobotSpec
from wla.types import Observation

DEFAULT = "default"
LEROBOT = "lerobot:"


class LeRobotSettings(Config):
    """What a robot's owner states about it (TOML)."""

    driver: dict[str, Any] = Field(default_factory=dict)
    """Fields of LeRobot's configuration of the robot: port, id, cameras, as for `lerobot-record --robot.`"""
    operator: dict[str, Any] = Field(default_factory=dict)
    """Fields of LeRobot's configuration of the device with which a person takes over."""
    names: dict[str, str] = Field(default_factory=dict)
    """Name in the policy's robot -> name at the driver, of numbers and cameras that are called differently."""
    units: dict[str, str]
    """Name at the driver -> unit of the number there; `default` for all others."""
    limits: SafetyLimits
    """Limits of the robot and its cell, in the policy's units."""

    @classmethod
    def read(cls, path: Path) -> LeRobotSettings:
        """ValueError for a file that is missing, damaged, or states something else."""
        try:
            tree = tomllib.loads(read_text(path, "TOML"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: is no TOML ({one_line(error)}); correct it") from error
        try:
            return cls.model_validate(tree)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ValueError(f"{path}: {where}: {one_line(first['msg'])}") from error


class Leader(Protocol):
    """LeRobot's `Teleoperator`, as far as it is used here."""

    def connect(self, calibrate: bool = True) -> None: ...
    def get_action(self) -> Mapping[str, Any]: ...
    def disconnect(self) -> None: ...


class Driver(Protocol):
    """LeRobot's `Robot`, as far as it is used here."""

    observation_features: Mapping[str, Any]
    action_features: Mapping[str, Any]
    is_connected: bool
    is_calibrated: bool

    def connect(self, calibrate: bool = True) -> None: ...
    def get_observation(self) -> Mapping[str, Any]: ...
    def send_action(self, action: dict[str, float]) -> Any: ...
    def disconnect(self) -> None: ...


class LeRobotRobot:
    """A robot behind a driver of LeRobot, in the units of the policy's spec. Deltas become targets by what is
    measured."""

    def __init__(self, name: str, driver: Driver, spec: RobotSpec, settings: LeRobotSettings) -> None:
        """ValueError for a number, camera or unit that the driver and the policy do not both have."""
        self._name, self._driver, self.robot_spec, self.safety_limits = name, driver, spec, settings.limits
        action, observation = spec.action, spec.observation
        self._cameras = {camera: settings.names.get(camera, camera) for camera in observation.cameras}
        self._state = [settings.names.get(each, each) for each in observation.state_names]
        self._action = [settings.names.get(each, each) for each in action.names]
        seen, taken = driver.observation_features, driver.action_features
        self._require(self._cameras.values(), [key for key, kind in seen.items() if isinstance(kind, tuple)], "camera")
        numbers = [key for key, kind in seen.items() if not isinstance(kind, tuple)]
        self._require(self._state, numbers, "measured number")
        self._require(self._action, list(taken), "action")
        self._require(list(taken), self._action, "action for the driver in the policy's robot called")
        deltas = [each for each, kind in zip(self._action, action.kinds, strict=True) if kind == "delta"]
        self._require(deltas, self._state, "measured number for the relative action")
        self._deltas = frozenset(deltas)
        self._state_factors = self._factors(self._state, observation.state_units, settings.units)
        self._action_factors = self._factors(self._action, action.units, settings.units)
        self._measured: Mapping[str, Any] = {}

    def connect(self) -> None:
        self._driver.connect(calibrate=False)
        if not self._driver.is_calibrated:
            raise ValueError(f"{self._name}: is not calibrated; run lerobot-calibrate first")

    def observe(self) -> Observation:
        measured = self._measured = self._driver.get_observation()
        state = np.array([float(measured[name]) for name in self._state], np.float32) * self._state_factors
        images = {
            camera: fit_image(np.asarray(measured[name], np.uint8), self.robot_spec.observation.cameras[camera])
            for camera, name in self._cameras.items()
        }
        return Observation(images, state)

    def act(self, action: Float32[np.ndarray, " A"]) -> None:
        sent = dict(zip(self._action, (action / self._action_factors).tolist(), strict=True))
        self._driver.send_action(
            {
                name: value + float(self._measured[name]) if name in self._deltas else value
                for name, value in sent.items()
            }
        )

    def action_of(self, targets: Mapping[str, Any]) -> Float32[np.ndarray, " A"]:
        """The action for targets by the driver's names and in its units. ValueError where one is missing."""
        missing = [name for name in self._action if name not in targets]
        if missing:
            raise ValueError(f"{self._name}: the operator's device gives no {missing[0]!r}")
        given = np.array([float(targets[name]) for name in self._action], np.float32)
        here = [float(self._measured[name]) if name in self._deltas else 0.0 for name in self._action]
        return (given - np.array(here, np.float32)) * self._action_factors

    def stop(self) -> None:
        """Holds the place that is measured now, as far as the driver measures what it commands."""
        if self._driver.is_connected:
            measured = self._driver.get_observation()
            if all(name in measured for name in self._action):
                self._driver.send_action({name: float(measured[name]) for name in self._action})

    def close(self) -> None:
        """Disconnects. Most drivers switch the motors off then (`disable_torque_on_disconnect`)."""
        if self._driver.is_connected:
            self._driver.disconnect()

    def _require(self, names: Any, known: list[str], what: str) -> None:
        missing = [name for name in names if name not in known]
        if missing:
            raise ValueError(
                f"{self._name}: has no {what} {missing[0]!r}; there are {', '.join(known) or 'none'} "
                "([names] in the file of --robot-config says what is called differently)"
            )

    def _factors(
        self, names: list[str], units: tuple[str, ...], stated: Mapping[str, str]
    ) -> Float32[np.ndarray, " D"]:
        found = []
        for name, unit in zip(names, units, strict=True):
            own = stated.get(name, stated.get(DEFAULT))
            if own is None:
                raise ValueError(f"{self._name}: the unit of {name!r} is missing; state it in [units]")
            factor = conversion(own, unit)
            if factor is None:
                raise ValueError(
                    f"{self._name}: {name!r} is in {own!r}, the policy needs {unit!r}; that is not converted"
                )
            found.append(factor)
        return np.array(found, np.float32)


def lerobot_robot(name: str, path: Path, spec: RobotSpec) -> LeRobotRobot:
    """The robot that LeRobot calls `name`, not connected. ValueError for a wrong file or name, ModuleNotFoundError
    without LeRobot."""
    settings = LeRobotSettings.read(path)
    driver: Driver = _made("Robot", name, settings.driver, f"{path}: [driver]")
    return LeRobotRobot(f"{LEROBOT}{name}", driver, spec, settings)


@contextmanager
def lerobot_leader(
    name: str, path: Path, robot: LeRobotRobot
) -> Iterator[Callable[[Observation], Float32[np.ndarray, " A"]]]:
    """Context with the device that LeRobot calls `name`, connected: it gives actions of the robot. ValueError for a
    wrong file or name."""
    settings = LeRobotSettings.read(path)
    leader: Leader = _made("Teleoperator", name, settings.operator, f"{path}: [operator]")
    leader.connect(calibrate=False)
    try:
        yield lambda observation: robot.action_of(leader.get_action())
    finally:
        leader.disconnect()


def _made(kind: Literal["Robot", "Teleoperator"], name: str, fields: dict[str, Any], where: str) -> Any:
    """A device of LeRobot. where: the fields came from, for messages."""
    package = f"lerobot.{kind.lower()}s"
    try:
        devices, cameras = import_module(package), import_module("lerobot.cameras")
        plugins, draccus = import_module("lerobot.utils.import_utils"), import_module("draccus")
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{LEROBOT}{name} needs LeRobot (Python 3.12 or newer): pip install lerobot ({one_line(error)})"
        ) from error
    for each in (devices, cameras):  # modules register their configurations when they are imported
        for module in pkgutil.iter_modules(each.__path__):
            with suppress(ImportError):  # what another device needs is not needed here
                import_module(f"{each.__name__}.{module.name}")
    plugins.register_third_party_plugins()
    configuration = getattr(devices, f"{kind}Config")
    known = sorted(configuration.get_known_choices())
    if name not in known:
        raise ValueError(f"{LEROBOT}{name}: LeRobot has no such {kind.lower()}; it has {', '.join(known)}")
    try:
        config = draccus.decode(configuration, {"type": name, **fields})
    except Exception as error:
        raise ValueError(f"{where}: {one_line(error)}") from error
    try:
        return getattr(devices, f"make_{kind.lower()}_from_config")(config)
    except ImportError as error:
        raise ModuleNotFoundError(f"{LEROBOT}{name}: {one_line(error)}") from error
    except Exception as error:
        raise ValueError(f"{where}: {type(error).__name__}: {one_line(error)}") from error
