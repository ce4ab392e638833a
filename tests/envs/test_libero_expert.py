"""LIBERO's scripted expert in a scene of plain geometry: a hand that moves as told, and objects that it can take."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from wla.envs.libero.expert import aim, choose_grasp, motion
from wla.envs.libero.scene import Matrix, Scene, Solid, Vector

STEPS = 220
FLOOR = 0.0


def box(x: float, y: float, half: tuple[float, float, float], yaw: float = 0.0) -> Solid:
    centre = np.array([x, y, FLOOR + half[2]])
    return Solid(centre, centre, Rotation.from_euler("z", yaw).as_matrix(), np.array(half))


def distance(point: Vector, solid: Solid) -> float:
    beyond = np.abs((point - solid.centre) @ solid.axes) - solid.half
    return float(np.linalg.norm(np.maximum(beyond, 0.0)))


class PlainScene(Scene):
    """Time passes in it by `step`."""

    goals = [("thing", "place")]  # type: ignore[assignment]  # noqa: RUF012 - as in the scene
    opening = 0.08  # type: ignore[assignment]

    def __init__(self, thing: Solid, place: Solid, *others: Solid) -> None:
        self.solids = {"thing": thing, "place": place} | {f"other_{i}": each for i, each in enumerate(others)}
        self.position, self.turn = np.array([-0.2, 0.0, 0.3]), Rotation.from_euler("x", np.pi)
        self.held = False

    @property
    def solved(self) -> bool:
        thing, place = self.solids["thing"], self.solids["place"]
        return bool(np.linalg.norm((thing.centre - place.centre)[:2]) < 0.03 and thing.bottom < place.top + 0.03)

    @property
    def hand(self) -> tuple[Vector, Matrix]:
        return self.position, self.turn.as_matrix()

    def holds(self, name: str) -> bool:
        return self.held

    def target(self, name: str) -> tuple[Vector, float]:
        return self.solids[name].position, self.solids[name].top

    def room(self, point: Vector, name: str) -> float:
        return min(distance(point, solid) for other, solid in self.solids.items() if other != name)

    def things(self) -> list[str]:
        return list(self.solids)

    def solid(self, name: str) -> Solid:
        return self.solids[name]

    def step(self, action: np.ndarray) -> None:
        action = np.clip(action, -1, 1)
        moved = 0.0125 * action[:3]
        self.position = self.position + moved
        self.turn = Rotation.from_rotvec(0.1 * action[3:6]) * self.turn
        self.opening = float(np.clip(self.opening - 0.02 * action[6], 0.0, 0.08))
        thing = self.solids["thing"]
        grasp = choose_grasp(self, "thing", thing)
        beside = np.linalg.norm((grasp.position - self.position)[:2])
        width = min(thing.half[:2]) * 2 if min(thing.half[:2]) < 0.037 else 0.004
        self.held = self.opening <= width and (self.held or (beside < 0.02 and self.position[2] < thing.top))
        fall = np.array([0, 0, -min(0.02, max(thing.bottom - FLOOR, 0.0))])
        shift = moved if self.held else fall
        self.solids["thing"] = Solid(thing.position + shift, thing.centre + shift, thing.axes, thing.half)


PLACE = box(0.1, 0.2, (0.08, 0.08, 0.01))
THINGS = {
    "a can": box(-0.1, -0.2, (0.033, 0.033, 0.05)),
    "a box across": box(-0.1, -0.2, (0.03, 0.08, 0.02), yaw=1.2),
    "a box along": box(0.0, -0.15, (0.08, 0.03, 0.02), yaw=-0.4),
    "a bowl, by its rim": box(-0.1, -0.1, (0.06, 0.06, 0.03), yaw=0.8),
}


@pytest.mark.parametrize("thing", THINGS.values(), ids=THINGS)
@pytest.mark.parametrize("start", [(-0.2, 0.0, 0.3), (0.2, 0.3, 0.05)], ids=["high", "low"])
def test_the_expert_takes_a_thing_to_its_place(thing: Solid, start: tuple[float, float, float]) -> None:
    scene = PlainScene(thing, PLACE)
    scene.position = np.array(start)
    for step in range(STEPS):  # noqa: B007 - read below
        scene.step(motion(scene, aim(scene)))
        if scene.solved and not scene.held:
            break
    assert scene.solved
    assert not scene.held, "it lets go"
    assert step < 180


def test_it_begins_again_after_a_thing_was_lost() -> None:
    scene = PlainScene(THINGS["a can"], PLACE)
    lost = False
    for _ in range(2 * STEPS):
        scene.step(motion(scene, aim(scene)))
        if not lost and scene.held and scene.position[2] > 0.09:
            scene.held, scene.opening, lost = False, 0.08, True
    assert lost
    assert scene.solved


def test_a_bowl_is_taken_where_nothing_stands_beside_it() -> None:
    bowl = box(0.0, 0.0, (0.06, 0.06, 0.03))
    for side in (-1.0, 1.0):
        scene = PlainScene(bowl, PLACE, box(0.0, side * 0.12, (0.05, 0.05, 0.05)))
        assert choose_grasp(scene, "thing", bowl).position[1] * side < 0


def test_in_a_narrow_drawer_a_bowl_is_taken_along_it() -> None:
    bowl = box(0.0, 0.0, (0.05, 0.05, 0.03))
    for yaw in (0.0, 0.5, 1.2):
        normal = np.array([-np.sin(yaw), np.cos(yaw)])
        walls = [box(*(side * 0.075 * normal), (0.2, 0.005, 0.05), yaw) for side in (-1.0, 1.0)]
        grasp = choose_grasp(PlainScene(bowl, PLACE, *walls), "thing", bowl)
        assert grasp.across is not None
        assert abs(grasp.across[:2] @ normal) < 0.6


def test_fingers_lie_across_the_narrow_side_whichever_way_it_is_turned() -> None:
    for yaw in (0.0, 0.7, 1.5, 3.0):
        grasp = choose_grasp(PlainScene(PLACE, PLACE), "thing", box(0, 0, (0.08, 0.02, 0.02), yaw))
        assert grasp.across is not None
        np.testing.assert_allclose(abs(grasp.across @ [-np.sin(yaw), np.cos(yaw), 0]), 1, atol=1e-9)
