"""Plans for Push-T: the push that brings the block nearest to its outline, found by simulating many, and the way there.

Lengths are pixels of the environment's plane of 512 x 512, x to the right and y down; angles are radians.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pymunk
from gym_pusht.envs.pusht import PushTEnv
from jaxtyping import Float
from scipy.sparse.csgraph import dijkstra
from shapely.geometry import LineString, Point, Polygon
from shapely.ops import unary_union

Plane = Float[np.ndarray, "2"]
Pose = Float[np.ndarray, "3"]
"""Position (x, y) and angle of the block."""

GOAL: Pose = np.array([256.0, 256.0, np.pi / 4])
RADIUS = 15.0
"""Of the pusher, a disc."""
FIRST, LAST = 21.0, 490.0
"""Coordinates between which the pusher does not touch a wall."""
APPROACH_STEP, PUSH_STEPS = 28.0, (3.0, 14.0)
"""Motion of the target in a control step: on the way to the block, and the range of it in a push."""
CONTACT_SPACING = 15.0
PUSH_ANGLES = (-0.4, 0.0, 0.4)
"""Directions of the pushes that are tried at a place of contact, about the outline's normal."""
STEP_COST = 0.15
"""Distance to the outline that one control step is worth."""


@dataclass(frozen=True, eq=False)
class PlanStep:
    """A target for the pusher, and where the simulation has the pusher and the block before it."""

    target: Plane
    agent: Plane
    pose: Pose
    pushing: bool


@dataclass(frozen=True, eq=False)
class _Push:
    start: Plane
    direction: Plane
    step: float
    length: int
    distance: float

    def targets(self) -> Iterator[Plane]:
        for number in range(1, self.length + 1):
            yield self.start + self.direction * self.step * number


class Simulation:
    """The environment's pusher and block in a space of their own, to try pushes in."""

    def __init__(self) -> None:
        self._space = pymunk.Space()
        self._space.gravity = 0, 0
        self._space.damping = 0
        corners = [(5, 506), (5, 5), (506, 5), (506, 506)]
        walls = zip(corners, [*corners[1:], corners[0]], strict=True)
        self._space.add(*[PushTEnv.add_segment(self._space, start, end, 2) for start, end in walls])
        self._agent = PushTEnv.add_circle(self._space, (256, 400), RADIUS)
        self._block, shapes = PushTEnv.add_tee(self._space, (256, 300), 0)
        self.outline = unary_union([Polygon(shape.get_vertices()) for shape in shapes])
        """Of the block, in its own frame."""

    @property
    def agent(self) -> Plane:
        return np.array(self._agent.position)

    @property
    def pose(self) -> Pose:
        return np.array([*self._block.position, self._block.angle])

    def set(self, agent: Plane, velocity: Plane, pose: Pose) -> None:
        self._agent.position, self._agent.velocity = tuple(agent), tuple(velocity)
        self._block.angle = float(pose[2])  # first: it turns about the centre of mass, which moves the position
        self._block.position = (float(pose[0]), float(pose[1]))
        self._block.velocity, self._block.angular_velocity = (0, 0), 0.0
        for body in (self._agent, self._block):
            self._space.reindex_shapes_for_body(body)

    def step(self, target: Plane) -> None:
        """One control step of the environment: 10 of 0.01 s, the pusher controlled by its position and velocity."""
        for _ in range(10):
            error = pymunk.Vec2d(*target) - self._agent.position
            self._agent.velocity += (100 * error - 20 * self._agent.velocity) * 0.01
            self._space.step(0.01)


class PushPlanner:
    """Finds the next push, greedily."""

    def __init__(self) -> None:
        self._simulation = Simulation()
        outline = self._simulation.outline.exterior
        self._corners = np.array(outline.coords)[:-1]
        self._contacts = [_contact(outline, at) for at in np.arange(4.0, outline.length, CONTACT_SPACING)]

    def distance(self, pose: Pose) -> float:
        """Mean distance of the block's corners from those of the outline that it should cover."""
        return float(np.linalg.norm(to_world(pose, self._corners) - to_world(GOAL, self._corners), axis=1).mean())

    def plan(self, agent: Plane, velocity: Plane, pose: Pose) -> list[PlanStep]:
        """The way to the best push and the push, empty where no push that can be reached brings the block nearer."""
        block = Polygon(to_world(pose, self._corners))
        pushes = list(self._pushes(pose, block))
        pushes.sort(key=lambda push: push.distance + STEP_COST * _duration(agent, push))
        for push in pushes:
            way = _way_around(block, agent, push.start)
            if way is not None:
                return self._simulated(agent, velocity, pose, way, push)
        return []

    def _pushes(self, pose: Pose, block: Polygon) -> Iterator[_Push]:
        now = self.distance(pose)
        step = float(np.clip(now / 4, *PUSH_STEPS))
        turn = np.array([0.0, 0.0, pose[2]])
        for contact, normal in self._contacts:
            for angle in PUSH_ANGLES:
                direction = to_world(np.array([0.0, 0.0, angle]), -normal[None])[0]
                start = to_world(pose, (contact + normal * RADIUS - direction * 5)[None])[0]
                if _is_inside(start) and block.distance(Point(start)) >= RADIUS + 1:
                    push = self._best_length(start, to_world(turn, direction[None])[0], step, pose, now)
                    if push.length:
                        yield push

    def _best_length(self, start: Plane, direction: Plane, step: float, pose: Pose, now: float) -> _Push:
        """The push that stops where the block is nearest; of length 0 where it only gets farther."""
        self._simulation.set(start, np.zeros(2), pose)
        best = _Push(start, direction, step, 0, now)
        for number in range(1, 1 + int(min(130.0, 2.5 * now + 15) / step)):
            target = start + direction * step * number
            if not _is_inside(target):
                break
            self._simulation.step(target)
            distance = self.distance(self._simulation.pose)
            if distance < best.distance:
                best = _Push(start, direction, step, number, distance)
            if distance > now + 30:
                break
        return best

    def _simulated(self, agent: Plane, velocity: Plane, pose: Pose, way: list[Plane], push: _Push) -> list[PlanStep]:
        steps: list[PlanStep] = []
        self._simulation.set(agent, velocity, pose)

        def go(target: Plane, *, pushing: bool) -> None:
            steps.append(PlanStep(target, self._simulation.agent, self._simulation.pose, pushing))
            self._simulation.step(target)

        target = agent
        for corner in way:
            while np.linalg.norm(corner - target) > 1e-6:
                target = _toward(target, corner, APPROACH_STEP)
                go(target, pushing=False)
        while np.linalg.norm(push.start - self._simulation.agent) > 2:  # the pusher lags behind its target
            go(push.start, pushing=False)
        for target in push.targets():
            go(target, pushing=True)
        go(self._simulation.agent - push.direction * 12, pushing=False)
        return steps


def to_world(pose: Pose, points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "N 2"]:
    """Points of a frame with this pose, in the plane."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    return points @ np.array([[cos, sin], [-sin, cos]]) + pose[:2]


def _contact(outline: LineString, at: float) -> tuple[Plane, Plane]:
    """The point of the outline this far along it, and the normal there, outwards."""
    point, ahead = (np.array(outline.interpolate(place).coords[0]) for place in (at, at + 0.5))
    along = (ahead - point) / np.linalg.norm(ahead - point)
    normal = np.array([along[1], -along[0]])
    return point, -normal if Polygon(outline).contains(Point(point + normal * 2)) else normal


def _duration(agent: Plane, push: _Push) -> float:
    """Control steps that a push takes, about."""
    return push.length + float(np.linalg.norm(push.start - agent)) / APPROACH_STEP


def _is_inside(point: Plane) -> bool:
    return bool(point.min() > FIRST and point.max() < LAST)


def _toward(start: Plane, end: Plane, step: float) -> Plane:
    way = end - start
    length = float(np.linalg.norm(way))
    return end if length <= step else start + way / length * step


def _way_around(block: Polygon, start: Plane, end: Plane) -> list[Plane] | None:
    """Corners of the shortest way of the pusher that does not touch the block, the end included; None without one.

    The corners are those of a wider outline; start and end may be nearer to the block.
    """
    corners = [np.array(corner) for corner in block.buffer(RADIUS + 8, join_style="mitre").exterior.coords[:-1]]
    nodes = [start, end, *filter(_is_inside, corners)]
    touching, near = block.buffer(RADIUS - 0.5), block.buffer(RADIUS + 3)
    lengths = np.zeros((len(nodes), len(nodes)))
    for i, first in enumerate(nodes):
        for j, second in enumerate(nodes[:i]):
            line = LineString([first, second])
            if not line.intersects(touching if j < 2 else near):
                lengths[i, j] = lengths[j, i] = line.length
    _, before = dijkstra(lengths, indices=0, return_predecessors=True)
    way, node = [], 1
    while node != 0:
        if node < 0:
            return None
        way.append(nodes[node])
        node = before[node]
    return way[::-1]
