"""Robots of LeRobot: names, units and images are the policy's; what does not fit is one line. LeRobot is played."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from fake_time import FakeClock, FakeWorker

from wla.control import AsyncRunner
from wla.control.lerobot_robot import LeRobotRobot, LeRobotSettings, lerobot_robot
from wla.specs import ActionSpec, ObservationSpec, RobotSpec
from wla.types import ActionChunk, BasePolicy, PolicyState

NAMES = ("shoulder.pos", "gripper.pos")
SETTINGS = """
[driver]
port = "/dev/ttyACM0"
[units]
default = "deg"
"gripper.pos" = "%"
[limits]
position_low = [-1.5, 0.0]
position_high = [1.5, 1.0]
velocity = [1.0, 2.0]
acceleration = [20.0, 20.0]
"""


def spec(*, kind: str = "absolute", names: tuple[str, ...] = NAMES, units: tuple[str, ...] = ("rad", "1")) -> RobotSpec:
    return RobotSpec(
        embodiment="arm",
        action=ActionSpec(
            names=names,
            units=units,
            kinds=(kind, "absolute"),
            low=(-2.0, 0.0),
            high=(2.0, 1.0),
            frame="joint",
            gripper="0 closed .. 1 open",
            rate_hz=10.0,
        ),
        observation=ObservationSpec(
            cameras={"front": (32, 48)}, state_names=names, state_units=units, state_frame="joint"
        ),
    )


class Driver:
    """A robot as LeRobot drives it: degrees, percent, and a camera of another size."""

    def __init__(self, config: Any = None) -> None:
        self.action_features: Any = {"shoulder.pos": float, "gripper.pos": float}
        self.observation_features: Any = {**self.action_features, "front": (64, 48, 3), "load": float}
        self.config, self.is_connected, self.is_calibrated = config, False, True
        self.position = {"shoulder.pos": 90.0, "gripper.pos": 50.0, "load": 1.0}
        self.sent: list[dict[str, float]] = []

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is asked to move the arm by hand while a policy is about to begin"
        self.is_connected = True

    def get_observation(self) -> dict[str, Any]:
        return {**self.position, "front": np.full((64, 48, 3), 200, np.uint8)}

    def send_action(self, action: dict[str, float]) -> dict[str, float]:
        self.sent.append(action)
        self.position |= action
        return action

    def disconnect(self) -> None:
        self.is_connected = False


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "my_arm.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def lerobot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of LeRobot 0.6 and its decoder of configurations, as far as they are used."""

    class RobotConfig:
        @staticmethod
        def get_known_choices() -> dict[str, type]:
            return {"so101_follower": Driver}

    def decode(kind: type, fields: dict[str, Any]) -> dict[str, Any]:
        if "port" not in fields:
            raise TypeError("missing a required field:\n`port`")
        return fields

    modules = {name: ModuleType(name) for name in ("lerobot", "lerobot.robots", "lerobot.cameras", "lerobot.utils")}
    modules |= {name: ModuleType(name) for name in ("lerobot.utils.import_utils", "draccus")}
    for name, module in modules.items():
        module.__dict__["__path__"] = []
        monkeypatch.setitem(sys.modules, name, module)
    modules["lerobot.robots"].__dict__.update(RobotConfig=RobotConfig, make_robot_from_config=Driver)
    modules["lerobot.utils.import_utils"].__dict__.update(register_third_party_plugins=lambda: None)
    modules["draccus"].__dict__.update(decode=decode)


def test_numbers_are_in_the_units_of_the_policy_and_images_in_its_size(settings: Path) -> None:
    driver = Driver()
    body = LeRobotRobot("lerobot:arm", driver, spec(), LeRobotSettings.read(settings))
    body.connect()
    seen = body.observe()
    assert seen.state.tolist() == pytest.approx([math.pi / 2, 0.5])
    assert seen.images["front"].shape == (32, 48, 3)
    assert seen.images["front"][16, 24].tolist() == [200] * 3
    body.act(np.float32([math.pi / 4, 1.0]))
    assert driver.sent == [pytest.approx({"shoulder.pos": 45.0, "gripper.pos": 100.0})]
    body.stop()
    assert driver.sent[-1] == pytest.approx({"shoulder.pos": 45.0, "gripper.pos": 100.0})
    body.close()
    body.close()
    assert not driver.is_connected


def test_relative_actions_become_targets(settings: Path) -> None:
    driver = Driver()
    body = LeRobotRobot("lerobot:arm", driver, spec(kind="delta"), LeRobotSettings.read(settings))
    body.connect()
    body.observe()
    body.act(np.float32([math.radians(-5), 0.0]))
    assert driver.sent == [pytest.approx({"shoulder.pos": 85.0, "gripper.pos": 0.0}, abs=1e-4)]


def test_other_names_are_translated(settings: Path) -> None:
    settings.write_text(SETTINGS + '[names]\njoint_1 = "shoulder.pos"\nhand = "gripper.pos"\n')
    body = LeRobotRobot("lerobot:arm", Driver(), spec(names=("joint_1", "hand")), LeRobotSettings.read(settings))
    body.connect()
    assert body.observe().state.tolist() == pytest.approx([math.pi / 2, 0.5])


class Opens(BasePolicy[PolicyState]):
    robot_spec = spec()

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed)

    def act(self, observation, state, **options):
        return ActionChunk(np.tile(np.float32([1.6, 1.0]), (4, 1))), state


@pytest.mark.usefixtures("lerobot")
def test_the_runner_drives_it_within_its_limits(settings: Path) -> None:
    body = lerobot_robot("so101_follower", settings, spec())
    body._driver.position["shoulder.pos"] = 60.0
    clock = FakeClock()
    report = AsyncRunner(Opens(), body, clock=clock, worker=FakeWorker(clock)).run("open", seconds=3.0)
    driver = body._driver
    degrees = np.array([60.0, *(each["shoulder.pos"] for each in driver.sent)])
    assert report.error is None
    assert driver.config["port"] == "/dev/ttyACM0"
    assert np.abs(np.diff(degrees)).max() <= math.degrees(0.1) + 1e-3
    assert degrees.max() <= math.degrees(1.5) + 1e-3
    assert driver.sent[-1]["gripper.pos"] == pytest.approx(100)


def test_without_lerobot_there_is_one_line(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lerobot", None)
    with pytest.raises(ModuleNotFoundError, match=r"lerobot:so101_follower needs LeRobot .*pip install lerobot "):
        lerobot_robot("so101_follower", settings, spec())


@pytest.mark.usefixtures("lerobot")
def test_an_unknown_robot_and_a_wrong_field_are_one_line(settings: Path) -> None:
    with pytest.raises(ValueError, match="has no such robot; it has so101_follower"):
        lerobot_robot("so102_follower", settings, spec())
    settings.write_text(SETTINGS.replace("port", "prt"))
    with pytest.raises(ValueError, match=r"my_arm.toml: \[driver\]: missing a required field: `port`$"):
        lerobot_robot("so101_follower", settings, spec())


@pytest.mark.usefixtures("lerobot")
@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ImportError("'feetech-servo-sdk' is required"), ModuleNotFoundError, "'feetech-servo-sdk' is required"),
        (KeyError("motors\nno such"), ValueError, r"\[driver\]: KeyError: "),
    ],
)
def test_a_driver_that_cannot_be_made_is_one_line(
    error: Exception, kind: type[Exception], message: str, settings: Path
) -> None:
    def fail(config: Any) -> None:
        raise error

    sys.modules["lerobot.robots"].__dict__["make_robot_from_config"] = fail
    with pytest.raises(kind, match=message) as raised:
        lerobot_robot("so101_follower", settings, spec())
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "robot", "message"),
    [
        (('default = "deg"\n', ""), {}, "the unit of 'shoulder.pos' is missing; state it in"),
        (('default = "deg"\n', 'default = "inch"\n'), {}, "'shoulder.pos' is in 'inch', the policy needs 'rad'"),
        (("", ""), {"names": ("elbow.pos", "gripper.pos")}, "no measured number 'elbow.pos'; there are shoulder.pos"),
        (("velocity", "speed"), {}, "my_arm.toml: limits.velocity: Field required"),
        (("[units]", "[units"), {}, "my_arm.toml: is no TOML"),
    ],
)
def test_what_does_not_fit_is_one_line(
    change: tuple[str, str], robot: dict[str, Any], message: str, settings: Path
) -> None:
    settings.write_text(SETTINGS.replace(*change))
    with pytest.raises(ValueError, match=message) as error:
        LeRobotRobot("lerobot:arm", Driver(), spec(**robot), LeRobotSettings.read(settings))
    assert "\n" not in str(error.value)


def test_an_action_that_the_policy_does_not_have_is_refused(settings: Path) -> None:
    driver = Driver()
    driver.action_features = {**driver.action_features, "elbow.pos": float}
    with pytest.raises(ValueError, match=r"'elbow\.pos'"):
        LeRobotRobot("lerobot:arm", driver, spec(), LeRobotSettings.read(settings))


def test_a_robot_that_is_not_calibrated_is_not_driven(settings: Path) -> None:
    driver = Driver()
    driver.is_calibrated = False
    with pytest.raises(ValueError, match="run lerobot-calibrate first"):
        LeRobotRobot("lerobot:arm", driver, spec(), LeRobotSettings.read(settings)).connect()
