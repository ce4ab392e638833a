"""RoboTwin's evaluation as a client: its protocol, its episodes, and whatever else connects."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
from aloha import AlohaTeller, sent
from served import Teller, served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from xpolicylab_driver import Driver

from wla.serving import PolicyServer, ServerConfig
from wla.serving.client import RemotePolicy
from wla.serving.xpolicylab import endpoint


@pytest.fixture(scope="module")
def policy() -> AlohaTeller:
    return AlohaTeller()


@pytest.fixture(scope="module")
def address(policy: AlohaTeller) -> Iterator[str]:
    with served(policy, protocol="xpolicylab") as running:
        yield running


@pytest.fixture
def driver(address: str, request: pytest.FixtureRequest) -> Iterator[Driver]:
    opened = Driver(address, evaluation_id=request.node.name)
    yield opened
    opened.close()


def left_gripper(answer: tuple[str, dict]) -> list[int]:
    """The control steps at which the policy believed to be."""
    kind, payload = answer
    assert kind == "infer_result", payload
    return [round(100 * float(action["left_ee_joint_state"][0])) for action in payload["actions"]]


def test_an_episode_as_robotwin_runs_it(driver: Driver, policy: AlohaTeller) -> None:
    kind, about = driver.ask("hello", {"evaluation_plan": {"tasks": ["press"]}})
    assert (kind, about["ok"], about["action_type"], about["eval_batch"]) == ("hello_ack", True, "joint", False)
    assert about["cameras"] == ["cam_head", "cam_left_wrist", "cam_right_wrist"]
    case = {"seed": 100007, "instruction": "press it", "action_type": "joint"}
    assert driver.ask("prepare_case", {"action_case_id": "case", **case}) == ("prepare_case_ack", {"ok": True})
    assert driver.reset(**case) == ("reset_result", {"ok": True})
    kind, payload = driver.infer(sent(0.5))
    # The whole answer is executed there: only the advised three of four actions are in it.
    assert [sorted(action) for action in payload["actions"]] == [
        ["left_arm_joint_state", "left_ee_joint_state", "right_arm_joint_state", "right_ee_joint_state"]
    ] * 3
    assert payload["actions"][0]["left_arm_joint_state"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert payload["actions"][0]["left_arm_joint_state"].dtype == np.float32
    assert (payload["wla/subtasks"], payload["latency_ms"] > 0) == (["step 0"], True)
    assert policy.seeds[-1] == 100007
    assert left_gripper(driver.infer(sent(0.6))) == [3, 3, 3]
    assert driver.ask("heartbeat") == ("heartbeat_ack", {"ok": True})
    assert driver.ask("trial_end", {"trial_id": "trial", "success": True}) == ("trial_end_ack", {"ok": True})
    # The next episode has the same instruction and the same trial_id: only the reset tells.
    driver.reset(**case)
    assert left_gripper(driver.infer(sent(0.5))) == [0, 0, 0]
    driver.connection.send(msgpack.packb(driver.frame("close", {"reason": "done"})))
    with pytest.raises(ConnectionClosed):
        driver.connection.recv(10)


def test_environments_of_one_trial_have_histories_of_their_own(driver: Driver) -> None:
    driver.reset()
    assert left_gripper(driver.infer(sent(env_idx=0))) == [0, 0, 0]
    assert left_gripper(driver.infer(sent(env_idx=1))) == [0, 0, 0]
    assert left_gripper(driver.infer(sent(1, env_idx=0))) == [3, 3, 3]
    driver.reset()  # names no environment: it begins all of the trial again
    assert left_gripper(driver.infer(sent(2, env_idx=1))) == [0, 0, 0]


def test_a_request_that_is_repeated_over_another_connection_counts_once(driver: Driver, address: str) -> None:
    driver.reset()
    driver.infer(sent(0))
    first = left_gripper(driver.infer(sent(1)))
    again = Driver(address, evaluation_id=driver.ids["evaluation_id"])
    again.step = 1
    assert left_gripper(again.infer(sent(1))) == first == [3, 3, 3]
    assert left_gripper(again.infer(sent(2))) == [6, 6, 6]
    again.close()


def test_a_client_that_does_not_count_its_steps_advances_all_the_same(driver: Driver) -> None:
    driver.reset()
    steps = []
    for value in range(3):
        driver.step = 0
        steps += left_gripper(driver.infer(sent(value)))[:1]
    assert steps == [0, 3, 6]


def test_two_clients_with_the_same_names_are_refused(driver: Driver, address: str) -> None:
    other = Driver(address, evaluation_id=driver.ids["evaluation_id"])
    driver.reset()
    driver.infer(sent())
    other.reset()
    other.infer(sent(5))
    kind, payload = driver.infer(sent(1))
    assert (kind, payload["code"]) == ("error", "infer_failed")
    assert "give each client an evaluation_id or a trial_id of its own" in payload["message"]
    assert driver.reset()[1]["code"] == "reset_failed"
    assert left_gripper(other.infer(sent(6))) == [3, 3, 3]
    other.close()
    while driver.reset()[0] == "error":  # until the server has seen that the other is gone
        pass
    assert left_gripper(driver.infer(sent())) == [0, 0, 0]


def test_a_sparse_instruction_is_that_of_the_reset(driver: Driver) -> None:
    driver.reset(instruction="go")
    assert left_gripper(driver.infer(sent(instruction=""))) == [0, 0, 0]
    driver.reset()
    kind, payload = driver.infer(sent(instruction=""))
    assert (kind, payload["code"]) == ("error", "invalid_frame")
    assert "instruction is missing" in payload["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision": {}}, "vision 'cam_head' color is missing; the policy sees cam_head, cam_left_wrist"),
        ({"vision": 5}, "vision of the observation is no map"),
        (
            {"vision": {"cam_head": {"color": np.zeros((240, 320), np.uint8)}}},
            "image of 'cam_head' is uint8 (240, 320)",
        ),
        ({"vision": {"cam_head": {"color": np.full((9, 9, 3), 200.0)}}}, "outside of 0 .. 1"),
        ({"state": {}}, "state 'left_arm_joint_state' is missing; send 6 numbers"),
        ({"state": {"left_arm_joint_state": np.zeros(7)}}, "is not 6 finite numbers"),
        ({"state": {"left_arm_joint_state": [0, 1, 2, 3, 4, np.nan]}}, "is not 6 finite numbers"),
        ({"state": {"left_arm_joint_state": [[1], [2, 3]]}}, "is not 6 finite numbers"),
        ({"state": {"left_arm_joint_state": "abcdef"}}, "is not 6 finite numbers"),
        ({"env_idx": -1}, "env_idx is -1"),
        ({"instruction": "x" * 5000}, "instruction has 5000 characters"),
        ({"instruction": 7}, "instruction is empty or no text"),
    ],
)
def test_what_an_observation_lacks_is_named(driver: Driver, change: dict, message: str) -> None:
    driver.reset()
    whole = sent()
    wrong = {**whole, **change}
    if isinstance(change.get("vision"), dict) and change["vision"]:
        wrong["vision"] = {**whole["vision"], **change["vision"]}
    if change.get("state"):
        wrong["state"] = {**whole["state"], **change["state"]}
    kind, payload = driver.infer(wrong)
    assert (kind, payload["code"]) == ("error", "invalid_frame")
    assert message in payload["message"]
    assert "\n" not in payload["message"]
    assert driver.infer(whole)[0] == "infer_result"


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"message_type": "infer_result"}, "unknown_message_type", "requests are hello, prepare_case"),
        ({"message_type": None}, "unknown_message_type", "message_type is None"),
        ({"message_type": [1]}, "unknown_message_type", "message_type is [1]"),
        ({"message_id": "left out"}, "invalid_frame", "message_id is missing"),
        ({"message_id": ""}, "invalid_frame", "message_id"),
        ({"evaluation_id": "left out"}, "invalid_frame", "evaluation_id is missing"),
        ({"trial_id": 5}, "invalid_frame", "trial_id is 5"),
        ({"trial_id": "x" * 600}, "invalid_frame", "at most 512 bytes"),
        ({"step": -1}, "invalid_frame", "step is -1"),
        ({"step": 1.5}, "invalid_frame", "step is 1.5"),
        ({"repeat_index": "one"}, "invalid_frame", "repeat_index is 'one'"),
        ({"payload": [1]}, "invalid_frame", "payload is no map"),
        ({"priority": 1}, "invalid_frame", "the field 'priority' is not read"),
    ],
)
def test_a_bad_envelope_is_refused_in_one_line(driver: Driver, changes: dict, code: str, message: str) -> None:
    kind, payload = driver.ask("heartbeat", **changes)
    assert (kind, payload["code"], payload["details"]) == ("error", code, {})
    assert message in payload["message"]
    assert driver.ask("heartbeat")[0] == "heartbeat_ack"


OBJECTS = {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"cos\nsystem\n(S'true'\ntR."}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("text", "binary frames of msgpack, not text"),
        (b"\xc1", "0xc1"),
        (b"", "ends before its value"),
        (msgpack.packb(5), "a frame is a map"),
        (msgpack.packb({"payload": OBJECTS}), "arrays of objects"),
        (msgpack.packb({"payload": {**OBJECTS, b"kind": b""}}), "arrays of type '|O'"),
        (
            msgpack.packb({"payload": {b"nd": True, b"type": "<f4", b"shape": [2**31], b"data": b"1234"}}),
            "holds 4 bytes",
        ),
        (msgpack.packb({"payload": {b"nd": False, b"type": "<f4", b"data": b"12"}}), "holds 2 bytes"),
        (msgpack.packb({"payload": {b"complex": True, b"data": "1+j"}}), "complex numbers"),
        pytest.param(msgpack.packb([[]] * 30_000), "more than 20000 values", id="too many values"),
    ],
)
def test_a_hostile_frame_is_refused_in_one_line(driver: Driver, message: bytes | str, expected: str) -> None:
    answer = driver.exchange(message)
    assert (answer["message_type"], answer["payload"]["code"]) == ("error", "invalid_frame")
    assert expected in answer["payload"]["message"]
    assert driver.ask("heartbeat") == ("heartbeat_ack", {"ok": True})


def test_mutated_frames_are_answered(driver: Driver) -> None:
    whole, chance = msgpack.packb(driver.frame("hello", {"evaluation_plan": {}})), random.Random(0)
    for _ in range(300):
        frame = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        answer = driver.exchange(bytes(frame[: chance.randrange(1, len(frame) + 1)]))
        assert answer["message_type"] in ("error", "hello_ack")


@pytest.mark.parametrize(
    ("instruction", "message"),
    [("refuse", "this is refused"), ("fail", "ZeroDivisionError: by zero"), ("nan", "not all finite")],
)
def test_a_policy_that_fails_is_one_line(driver: Driver, instruction: str, message: str) -> None:
    driver.reset()
    kind, payload = driver.infer(sent(instruction=instruction))
    assert (kind, payload["code"]) == ("error", "infer_failed")
    assert message in payload["message"]
    assert "\n" not in payload["message"]


def test_an_evaluation_of_other_actions_is_refused_at_its_reset(driver: Driver) -> None:
    kind, payload = driver.reset(action_type="ee")
    assert (kind, payload["code"]) == ("error", "reset_failed")
    assert payload["message"] == ("the evaluation asks for actions of type 'ee'; this policy's are of type 'joint'")
    assert "send a reset before infer" in driver.infer(sent())[1]["message"]


def test_clients_of_the_other_protocol_get_a_line(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "SILENCE_S", 0.05)
    with pytest.raises(ConnectionError, match="XPolicyLab's protocol is spoken here"):
        RemotePolicy(address)
    with served(Teller()) as openpi, connect(openpi, compression=None) as connection:
        connection.recv(10)
        connection.send(msgpack.packb({"message_type": "hello", "message_id": "1", "payload": {}}))
        assert "wla serve --protocol xpolicylab" in connection.recv(10)


def test_a_robot_that_robotwin_does_not_have_is_not_served() -> None:
    with pytest.raises(ValueError, match="acts by changes"):
        PolicyServer(Teller(), "teller", ServerConfig(protocol="xpolicylab"))
