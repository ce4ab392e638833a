from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_robot import robot

from wla.specs import ActionSpec, ObservationSpec, RobotSpec

ROBOT = robot()
ACTION, OBSERVATION = ROBOT.action, ROBOT.observation


def test_dimensions_follow_from_the_names() -> None:
    assert ACTION.dim == 2
    assert OBSERVATION.state_dim == 3


def test_the_first_camera_is_the_primary_one_also_after_saving_and_loading(tmp_path: Path) -> None:
    assert OBSERVATION.primary_camera == "front"
    ROBOT.save(tmp_path / "robot.json")
    loaded = RobotSpec.load(tmp_path / "robot.json")
    assert loaded == ROBOT
    assert list(loaded.observation.cameras) == ["front", "wrist"]


def test_equal_specs_are_accepted() -> None:
    ROBOT.require_equal(ROBOT.model_copy(deep=True), ours="the policy", theirs="the dataset")


@pytest.mark.parametrize(
    ("part", "change", "field"),
    [
        ("action", {"frame": "tool"}, "action.frame is 'world' in the policy and 'tool' in the dataset"),
        ("action", {"gripper": "0 closed .. 1 open"}, "action.gripper"),
        ("action", {"rate_hz": 20.0}, "action.rate_hz"),
        ("action", {"kinds": ("absolute", "absolute")}, "action.kinds"),
        ("observation", {"state_units": ("mm", "mm", "1")}, "observation.state_units"),
        ("observation", {"cameras": {"front": (32, 48)}}, "observation.cameras.wrist is .* None in the dataset"),
    ],
)
def test_a_mismatch_raises_and_names_the_field(part: str, change: dict[str, Any], field: str) -> None:
    other = ROBOT.replace(**({part: getattr(ROBOT, part).replace(**change)}))
    with pytest.raises(ValueError, match=field):
        ROBOT.require_equal(other, ours="the policy", theirs="the dataset")


def test_an_unknown_kind_of_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="frame"):
        ActionSpec(**{**ACTION.model_dump(), "frame": "camera"})


@pytest.mark.parametrize("field", ["names", "units", "kinds", "low", "high"])
def test_every_dimension_has_all_parts(field):
    values = ACTION.model_dump()
    with pytest.raises(ValueError, match="need one entry for each dimension"):
        ActionSpec(**{**values, field: values[field][:-1]})


def test_limits_do_not_cross():
    with pytest.raises(ValueError, match="the lower limit of dimension 'dx' is above the upper one"):
        ActionSpec(**{**ACTION.model_dump(), "low": (2.0,) * ACTION.dim, "high": (1.0,) * ACTION.dim})


def test_a_robot_has_a_camera():
    with pytest.raises(ValueError, match="at least one is needed"):
        ObservationSpec(cameras={}, state_names=("x",), state_units=("m",), state_frame="world")


def test_limits_from_data_are_not_compared_but_stated_ones_are() -> None:
    wider = ACTION.replace(low=(-9.0,) * ACTION.dim, high=(9.0,) * ACTION.dim)
    with pytest.raises(ValueError, match=r"action\.high"):
        ROBOT.require_equal(ROBOT.replace(action=wider), ours="the policy", theirs="the dataset")
    for ours, theirs in (("data", "data"), ("stated", "data"), ("data", "stated")):
        one, other = (
            ROBOT.replace(action=ACTION.replace(limits=ours)),
            ROBOT.replace(action=wider.replace(limits=theirs)),
        )
        one.require_equal(other, ours="the policy", theirs="the dataset")


def test_what_nobody_has_stated_is_named_and_drives_nothing() -> None:
    ROBOT.require_known("the policy")
    action = ACTION.replace(gripper="unknown", units=("m", "unknown"))
    unknown = ROBOT.replace(action=action, observation=OBSERVATION.replace(state_frame="unknown"))
    assert unknown.unknown == ("action.units", "action.gripper", "observation.state_frame")
    with pytest.raises(ValueError, match=r"the policy: .* action\.gripper, observation\.state_frame are unknown"):
        unknown.require_known("the policy")
