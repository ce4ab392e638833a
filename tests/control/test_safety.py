"""The safety layer: nothing that leaves it is out of limits, whatever enters, and what is harmless passes unchanged."""

from __future__ import annotations

from math import inf, nan

import numpy as np
import pytest

from wla.control.safety import SafetyLayer, _braking
from wla.robots.safety_limits import SafetyLimits
from wla.specs import ActionSpec, ObservationSpec, RobotSpec

RATE = 20.0
PERIOD = 1 / RATE
LIMITS = SafetyLimits(
    position_low=(-1.0, -2.0, 0.0),
    position_high=(1.0, 2.0, 0.3),
    velocity=(1.0, 3.0, 0.5),
    acceleration=(4.0, 30.0, inf),
)
SLACK = 1e-5


def arm(kind: str = "absolute", *, state_names: tuple[str, ...] = ("x", "y", "z")) -> RobotSpec:
    names = ("x", "y", "z") if kind == "absolute" else ("dx", "dy", "dz")
    bound = 5.0 if kind == "absolute" else 0.2
    return RobotSpec(
        embodiment="arm",
        action=ActionSpec(
            names=names,
            units=("m",) * 3,
            kinds=(kind,) * 3,
            low=(-bound,) * 3,
            high=(bound,) * 3,
            frame="world",
            gripper="none",
            rate_hz=RATE,
        ),
        observation=ObservationSpec(
            cameras={"front": (8, 8)},
            state_names=state_names,
            state_units=("m",) * len(state_names),
            state_frame="world",
        ),
    )


class Arm:
    """Executes what the layer lets through, and remembers where it was."""

    def __init__(self, kind: str, limits: SafetyLimits = LIMITS, start: tuple[float, ...] = (0.0, 0.0, 0.1)) -> None:
        self.absolute = kind == "absolute"
        self.layer = SafetyLayer(arm(kind), limits)
        self.state = np.array(start, np.float32)
        self.path = [self.state]

    def step(self, action: np.ndarray | None, **options: float) -> tuple[np.ndarray, list[str]]:
        executed, notes = self.layer.step(action, self.state, **options)
        assert executed is not None
        assert executed.dtype == np.float32
        self.state = executed if self.absolute else (self.state + executed).astype(np.float32)
        self.path.append(self.state)
        return executed, [note.reason for note in notes]


def assert_within(path: list[np.ndarray], limits: SafetyLimits) -> None:
    positions = np.array(path, np.float64)
    velocity = np.diff(positions, axis=0) / PERIOD
    acceleration = np.diff(velocity, axis=0, prepend=0 * velocity[:1]) / PERIOD
    assert np.isfinite(positions).all()
    assert (positions >= np.array(limits.position_low) - SLACK).all()
    assert (positions <= np.array(limits.position_high) + SLACK).all()
    assert (np.abs(velocity) <= np.array(limits.velocity) + SLACK / PERIOD).all()
    assert (np.abs(acceleration) <= np.array(limits.acceleration) + SLACK / PERIOD**2).all()


def adversary(rng: np.random.Generator, steps: int):
    """Actions of a broken policy: far, wild, not finite, missing, of another shape, late."""
    for _ in range(steps):
        action = rng.normal(size=3) * 10.0 ** rng.integers(-3, 6)
        match rng.integers(12):
            case 0:
                yield None, 0.0
            case 1:
                action[rng.integers(3)] = rng.choice([nan, inf, -inf])
                yield action.astype(np.float32), 0.0
            case 2:
                yield np.zeros(rng.integers(5), np.float32), 0.0
            case 3:
                yield action.astype(np.float32), float(rng.choice([0.05, 0.2, nan, inf]))
            case _:
                yield action.astype(np.float32), 0.0


def attack(kind: str, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    robot = Arm(kind)
    for action, age_s in adversary(rng, steps):
        if action is not None and action.shape != (3,) and rng.random() < 0.5:
            action = None
        robot.step(action, age_s=age_s)
        if rng.random() < 0.01:
            robot.layer.stop("a person")
        elif robot.layer.stopped and rng.random() < 0.2:
            robot.layer.release()
    assert_within(robot.path, LIMITS)


@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_nothing_out_of_limits_is_executed(kind: str) -> None:
    attack(kind, 2_000, 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_nothing_out_of_limits_is_executed_in_100_000_chunks(kind: str) -> None:
    for seed in range(100):
        attack(kind, 8_000, seed)


@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_a_full_speed_run_into_the_wall_ends_at_the_wall(kind: str) -> None:
    robot = Arm(kind)
    target = np.array([100, 100, 100] if kind == "absolute" else [0.2, 0.2, 0.2], np.float32)
    for _ in range(200):
        robot.step(target)
    assert_within(robot.path, LIMITS)
    np.testing.assert_allclose(robot.state, LIMITS.position_high, atol=1e-3)


def test_actions_within_the_limits_pass_unchanged() -> None:
    robot = Arm("absolute", LIMITS.replace(ramp_s=0.0))
    for step in range(1, 100):
        action = np.array([0.3 * np.sin(step / 20), 0.5 * np.sin(step / 10), 0.15], np.float32)
        executed, reasons = robot.step(action)
        if step > 20:
            np.testing.assert_array_equal(executed, action)
            assert reasons == []


@pytest.mark.parametrize(
    ("action", "options", "reason"),
    [
        (None, {}, "missing"),
        (np.array([0, nan, 0], np.float32), {}, "not finite"),
        (np.zeros(2, np.float32), {}, "not finite"),
        (np.zeros(3, np.float32), {"age_s": 0.11}, "stale"),
        (np.zeros(3, np.float32), {"age_s": nan}, "stale"),
    ],
)
@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_without_a_usable_action_the_robot_holds_within_its_limits(kind, action, options, reason) -> None:
    robot = Arm(kind, LIMITS.replace(acceleration=(inf,) * 3))
    for _ in range(10):
        robot.step(np.array([0.5, 0.5, 0.2] if kind == "absolute" else [0.01] * 3, np.float32))
    before = robot.state
    for _ in range(5):
        _, reasons = robot.step(action, **options)
        assert reasons == [reason]
    np.testing.assert_array_equal(robot.state, before)


def test_a_stop_latches_until_it_is_released_and_motion_returns_slowly() -> None:
    robot = Arm("absolute", LIMITS.replace(acceleration=(inf,) * 3))
    target = np.array([0.9, 0, 0.1], np.float32)
    robot.step(target)
    robot.layer.stop("a person at the fence")
    robot.layer.stop("again")
    robot.layer.reset()
    assert robot.layer.stopped == "a person at the fence"
    here = robot.state
    assert robot.step(target)[1] == ["stopped"]
    np.testing.assert_array_equal(robot.state, here)
    robot.layer.release()
    moved = [float(robot.step(target)[0][0]) for _ in range(12)]
    steps = np.diff([float(here[0]), *moved])
    assert (np.diff(steps[:9]) > 0).all()
    assert steps[-1] == pytest.approx(1.0 * PERIOD, rel=1e-4)


def test_interventions_say_what_was_changed() -> None:
    robot = Arm("absolute", LIMITS.replace(ramp_s=0.0, acceleration=(inf,) * 3))
    _, notes = robot.layer.step(np.array([0.5, 0, 0.1], np.float32), robot.state)
    (note,) = notes
    assert (note.reason, note.dimension, note.requested) == ("velocity", "x", 0.5)
    assert note.executed == pytest.approx(0.05)
    assert note.step == 1


def test_an_absolute_dimension_that_nobody_measures_waits_for_its_first_action() -> None:
    layer = SafetyLayer(arm(state_names=("x", "y")), LIMITS)
    state = np.zeros(2, np.float32)
    assert layer.step(None, state)[0] is None
    executed, _ = layer.step(np.array([0, 0, 9], np.float32), state)
    assert executed is not None
    assert executed[2] == np.float32(0.3)


def test_a_robot_outside_of_its_workspace_may_only_come_back() -> None:
    robot = Arm("delta", LIMITS.replace(ramp_s=0.0, acceleration=(inf,) * 3), start=(1.5, 0, 0.1))
    assert robot.step(np.array([0.05, 0, 0], np.float32))[0][0] == 0
    assert robot.step(np.array([-0.05, 0, 0], np.float32))[0][0] == np.float32(-0.05)


def test_braking_leaves_room_to_stop() -> None:
    rng = np.random.default_rng(0)
    distance, change = rng.uniform(0, 2, 500), 10.0 ** rng.uniform(-4, 1, 500)
    first = _braking(distance, change)
    steps = np.maximum(0.0, first[:, None] - change[:, None] * np.arange(2_000))
    np.testing.assert_allclose(steps.sum(1), distance, rtol=1e-9)
    assert _braking(np.array([inf]), np.array([1.0])) == inf


@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_the_limits_in_force_are_those_of_the_actions_themselves(kind: str) -> None:
    robot, rng = Arm(kind), np.random.default_rng(0)
    low, high = robot.layer.action_limits
    # Of a change per step: the speed, or the limit of the spec where that is lower.
    np.testing.assert_allclose(high, LIMITS.position_high if kind == "absolute" else [0.05, 0.15, 0.025], rtol=1e-6)
    executed = np.array([robot.step(rng.uniform(-9, 9, 3).astype(np.float32))[0] for _ in range(50)])
    assert (executed <= high + SLACK).all()
    assert (executed >= low - SLACK).all()


def test_a_robot_of_which_something_is_unknown_is_not_driven() -> None:
    spec = arm()
    with pytest.raises(ValueError, match=r"'arm', action\.frame are unknown, so nothing may be driven"):
        SafetyLayer(spec.replace(action=spec.action.replace(frame="unknown")), LIMITS)


def test_limits_that_fit_no_robot_are_refused() -> None:
    with pytest.raises(ValueError, match="2 dimensions, the robot's actions 3"):
        SafetyLayer(
            arm(),
            SafetyLimits.of(
                arm().action.replace(
                    names=("x", "y"), units=("m",) * 2, kinds=("delta",) * 2, low=(0.0,) * 2, high=(1.0,) * 2
                )
            ),
        )
    with pytest.raises(ValueError, match="'x' moves 'w'"):
        SafetyLayer(arm(), LIMITS.replace(moves=("w", "y", "z")))
    for wrong in ({"velocity": (1.0,)}, {"position_low": (1.0, -2.0, 0.0)}, {"velocity": (0.0, 1.0, 1.0)}):
        with pytest.raises(ValueError, match=r"position|velocity"):
            LIMITS.replace(**wrong)


@pytest.mark.parametrize("kind", ["absolute", "delta"])
def test_a_robot_that_does_not_know_where_it_is_holds(kind: str) -> None:
    """A sensor that gives no number: nobody knows how far the limits are."""
    wanted = np.array([0.02, 0.0, 0.0] if kind == "delta" else [0.5, 0.0, 0.1], np.float32)
    arm_ = Arm(kind, start=(0.98, 0.0, 0.1))
    lost = arm_.state.copy()
    lost[0] = nan
    executed, notes = arm_.layer.step(wanted, lost)
    if kind == "absolute":
        assert executed is None
    else:
        assert not executed.any()
        assert [note.reason for note in notes] == ["not finite"]
    arm_.step(wanted)
    assert_within(arm_.path, LIMITS)


def in_units(kind: str, action: str, state: str) -> RobotSpec:
    spec = arm(kind)
    return spec.replace(
        action=spec.action.replace(units=(action,) * 3), observation=spec.observation.replace(state_units=(state,) * 3)
    )


def test_what_is_measured_in_another_unit_is_converted() -> None:
    """Limits and actions are in millimetres, the state in metres: the robot is at 990 of 1000 mm."""
    limits = SafetyLimits(
        position_low=(-1000.0,) * 3, position_high=(1000.0,) * 3, velocity=(1e5,) * 3, acceleration=(inf,) * 3
    )
    state = np.array([0.99, 0.0, 0.0], np.float32)
    delta = SafetyLayer(in_units("delta", "mm", "m").replace(action=wide(in_units("delta", "mm", "m"))), limits)
    executed, _ = delta.step(np.array([500.0, 0, 0], np.float32), state)
    np.testing.assert_allclose(executed, [10, 0, 0], atol=1e-2)
    absolute = SafetyLayer(in_units("absolute", "mm", "m"), limits.replace(velocity=(100.0,) * 3))
    executed, _ = absolute.step(np.array([0.0, 0, 0], np.float32), state)
    assert executed is not None
    assert 980 < executed[0] < 990


def wide(spec: RobotSpec) -> ActionSpec:
    return spec.action.replace(low=(-1e4,) * 3, high=(1e4,) * 3)


def test_limits_of_what_is_measured_in_a_unit_of_another_kind_are_refused() -> None:
    spec = in_units("delta", "normalised", "m")
    with pytest.raises(ValueError, match="'dx' is in 'normalised', and what it moves is measured in 'm'"):
        SafetyLayer(spec, LIMITS)
    free = SafetyLayer(spec, SafetyLimits.of(spec.action, velocity=10.0))
    executed, _ = free.step(np.array([0.1, 0, 0], np.float32), np.array([0.5, nan, 0], np.float32))
    assert executed is not None
    # An absolute dimension begins where it is commanded to first: what is measured says nothing.
    absolute = SafetyLayer(in_units("absolute", "1", "m"), LIMITS)
    first, _ = absolute.step(np.full(3, 0.2, np.float32), np.ones(3, np.float32))
    np.testing.assert_allclose(first, 0.2)
