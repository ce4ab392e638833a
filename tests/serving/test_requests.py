"""Requests: every dialect means the same observation, and errors name what was expected."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from served import fields
from toy_robot import robot

from wla.serving.requests import Commit, RequestReader
from wla.serving.wire import WireError

READER = RequestReader(robot().observation)
IMAGE = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)


def read(**changes: Any) -> Any:
    return READER.read({name: value for name, value in fields(**changes).items() if value is not None})


def test_openpi_names_of_a_robot_with_two_cameras() -> None:
    request = read(value=2.5, prompt="lift it", observation__wrist_image=IMAGE)
    np.testing.assert_array_equal(request.observation.images["wrist"], IMAGE)
    assert request.observation.state.tolist() == [2.5, 0, 0]
    assert (request.prompt, request.session_id, request.commit, request.imagine) == ("lift it", None, None, False)
    assert READER.names == ("observation/image", "observation/wrist_image", "observation/state", "prompt")


def test_names_of_more_cameras_and_aliases() -> None:
    spec = robot().observation
    reader = RequestReader(spec.replace(cameras={**spec.cameras, "top": (32, 48)}))
    assert "observation/images/top" in reader.names
    droid = {
        "observation/exterior_image_1_left": IMAGE,
        "observation/wrist_image_left": IMAGE,
        "observation/images/top": IMAGE,
        "observation/joint_position": np.array([1.0, 2.0]),
        "observation/gripper_position": np.array([3.0]),
        "prompt": b"from bytes",
    }
    request = reader.read(droid)
    assert request.observation.state.tolist() == [1, 2, 3]
    assert request.prompt == "from bytes"
    assert list(request.observation.images) == ["front", "wrist", "top"]


def test_aloha_names_and_layout() -> None:
    chw = np.ascontiguousarray(IMAGE.transpose(2, 0, 1))
    request = READER.read({"images": {"front": chw, "wrist": chw}, "state": np.zeros(3), "prompt": "fold"})
    np.testing.assert_array_equal(request.observation.images["front"], IMAGE)


def test_numbers_from_0_to_1_are_images_too() -> None:
    request = read(observation__image=(IMAGE / 255).astype(np.float32))
    np.testing.assert_array_equal(request.observation.images["front"], IMAGE)


def test_images_of_another_size_are_fitted_without_distortion() -> None:
    white = np.full((64, 64, 3), 255, np.uint8)
    image = read(observation__image=white).observation.images["front"]
    assert image.shape == (32, 48, 3)
    assert (image[:, 8:40] == 255).all()
    assert not image[:, :8].any()
    assert not image[:, 40:].any()


def test_options() -> None:
    commit = {"prediction_id": np.int64(3), "executed": 2}
    request = read(wla__session_id="a", wla__seed=5, wla__commit=commit, wla__imagine=True, wla__memory=["done"])
    assert (request.session_id, request.seed, request.commit) == ("a", 5, Commit(3, 2))
    assert (request.imagine, request.memory, request.flow_steps) == (True, ("done",), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"observation__images__side": IMAGE},
            "'observation/images/side' is not read here; this policy reads observation",
        ),
        ({"images": {"side": IMAGE}}, "no camera 'side'"),
        ({"observation__image": None}, "camera 'front' is missing; send it as observation/image"),
        ({"observation__image": "png"}, "send uint8"),
        ({"observation__image": IMAGE[..., 0]}, "send uint8"),
        ({"observation__image": IMAGE.astype(np.int32)}, "send uint8"),
        ({"observation__image": IMAGE.astype(np.float32)}, "outside of 0 .. 1"),
        ({"observation__image": np.full((32, 48, 3), np.nan)}, "outside of 0 .. 1"),
        ({"observation__image": np.zeros((5000, 2, 3), np.uint8)}, "4096 pixels"),
        ({"observation__image": np.zeros((0, 2, 3), np.uint8)}, "pixels"),
        ({"observation__state": None}, "state is missing; send 3 numbers: x, y, width"),
        ({"observation__state": np.zeros(4)}, "has 4 numbers; send 3"),
        ({"observation__state": np.array([0, np.inf, 0])}, "not finite in 'y'"),
        ({"observation__state": "abc"}, "send 3 numbers"),
        ({"observation__state": None, "observation__gripper_position": "abc"}, "observation/state is a str"),
        ({"prompt": None}, "prompt is missing"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": 7}, "prompt is empty or no text"),
        ({"prompt": "x" * 10_000}, "10000 characters"),
        ({"wla__seed": -1}, "wla/seed"),
        ({"wla__seed": 1.5}, "wla/seed"),
        ({"wla__commit": [1, 2]}, "prediction_id and executed"),
        ({"wla__commit": {"prediction_id": 1, "executed": -1}}, "executed"),
        ({"wla__discard": "x"}, "wla/discard"),
        ({"wla__past_images": np.zeros((2, 2, 3), np.uint8)}, "steps, height, width"),
        ({"wla__prefix": np.zeros(2, np.float32)}, "send \\(actions, dimensions\\)"),
        ({"wla__prefix": np.full((2, 2), np.nan)}, "wla/prefix is not finite"),
        ({"wla__limits": np.full((2, 2), np.nan)}, "wla/limits is float64"),
        ({"wla__limits": [[0, 0], [1, 1]]}, "wla/limits is a list"),
        ({"wla__delay": -1}, "wla/delay"),
        ({"wla__memory": "text"}, "list of texts"),
        ({"wla__memory": [""]}, "an item"),
        ({"wla__session_id": "x" * 200}, "session_id"),
    ],
)
def test_what_is_wrong_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError, match=message) as raised:
        read(**changes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, 5, [1], "text"])
def test_a_request_is_a_map(value: object) -> None:
    with pytest.raises(WireError, match="a request is a map"):
        READER.read(value)


def test_a_robot_without_a_state_needs_none() -> None:
    reader = RequestReader(robot(state_dim=0).observation)
    request = reader.read({"observation/image": IMAGE, "observation/wrist_image": IMAGE, "prompt": "go"})
    assert request.observation.state.shape == (0,)
