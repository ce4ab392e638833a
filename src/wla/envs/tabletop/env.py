"""The tabletop as a gymnasium environment."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float32

from wla.envs.mujoco_render import Renderer
from wla.envs.phrasings import Phrasings
from wla.envs.tabletop.appearance import Appearance
from wla.envs.tabletop.arm import Arm
from wla.envs.tabletop.cameras import CAMERAS
from wla.envs.tabletop.objects import Distractor, Labelled, SceneObject, TableObject
from wla.envs.tabletop.tasks.base import Task
from wla.envs.tabletop.tasks.common import random_clutter
from wla.envs.tabletop.world import World
from wla.specs import ObservationSpec, RobotSpec

HOLD_STEPS = 5
"""Number of consecutive control steps for which the goal must be reached before an episode counts as a success."""
_SCENES = 0x5CE7E  # separates the random stream of static scenes from that of the episodes with the same seed


@dataclass(frozen=True)
class TabletopState:
    """State of an episode in progress. world: that of the episode; task: with its progress so far."""

    world: World
    physics: mujoco.MjData
    task: Task
    steps: int
    held: int


class TabletopEnv(gymnasium.Env):
    """One task on the table, a `wla.types.Env`. All randomness is determined by the reset seed.

    Observations: images "front" and "wrist", uint8 (image_size, image_size, 3), and "state", float32 (S,), in the units
    of the robot spec. Actions: float32 (A,), clipped to the limits. Reward: 1 while the goal is reached, else 0.

    Args:
        task: class of the task; each reset samples an episode of it.
        arm: embodiment.
        randomized: whether table, light, camera and hues vary between episodes and distractors lie on the table.
        image_size: side of the square images, pixels.

    images_wanted: whether observations of `step` have images.
    """

    images_wanted = True
    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as a plain attribute
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(self, task: type[Task], arm: Arm, *, randomized: bool = False, image_size: int = 96) -> None:
        self._task_class = task
        self._arm = arm
        self._randomized = randomized
        self._size = image_size
        self.render_mode = "rgb_array"
        self.robot_spec = RobotSpec(
            embodiment=f"tabletop-{arm.embodiment}",
            action=arm.action_spec,
            observation=ObservationSpec(
                cameras=dict.fromkeys(CAMERAS, (image_size, image_size)),
                state_names=arm.state_names,
                state_units=arm.state_units,
                state_frame=arm.state_frame,
            ),
        )
        spec = arm.action_spec
        self._low, self._high = np.array(spec.low, dtype=np.float32), np.array(spec.high, dtype=np.float32)
        self.action_space = gymnasium.spaces.Box(self._low, self._high, dtype=np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), dtype=np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "images": gymnasium.spaces.Dict(dict.fromkeys(CAMERAS, image)),
                "state": gymnasium.spaces.Box(-np.inf, np.inf, (len(arm.state_names),), dtype=np.float32),
            }
        )
        self._renderer: Renderer | None = None
        self._task: Task | None = None
        self._world: World | None = None
        self._worlds: dict[tuple[str, ...], World] = {}  # compiling takes longer than rendering
        self._steps = 0
        self._held = 0

    @property
    def task(self) -> Task:
        """Task of the current episode. RuntimeError before the first reset."""
        if self._task is None:
            raise RuntimeError("the environment has no scene yet: call reset() first")
        return self._task

    @property
    def world(self) -> World:
        """Physics of the current episode. RuntimeError before the first reset."""
        if self._world is None:
            raise RuntimeError("the environment has no scene yet: call reset() first")
        return self._world

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts an episode and returns its first observation and info with instruction, success and subtask.

        Raises:
            ValueError: options are given; the tabletop has none.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"the tabletop has no reset options, got {sorted(options)}")
        rng = self.np_random
        self._build(rng)
        self._arm.randomize_pose(self.world, rng, self.task.start_height, 0.2)
        self.world.forward()
        self.task.update(self.world)
        self._steps = self._held = 0
        phrasings: Phrasings = self.task.phrasings
        instruction = phrasings.choose(rng, seed, self.task.template_values)
        return self.observe(), {"instruction": instruction, "success": False, "subtask": self._subtask()}

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        """Runs one control step (0.1 s) and returns observation, reward, terminated, truncated and info.

        Raises:
            ValueError: the action has the wrong shape or values that are not finite.
        """
        self._arm.drive(self.world, self._checked(action))
        self._steps += 1
        self.task.update(self.world)
        reached = self.task.success(self.world)
        self._held = self._held + 1 if reached else 0
        success = self._held >= HOLD_STEPS
        terminated = success or self.task.failed(self.world)
        truncated = not terminated and self._steps >= self.task.step_limit
        seen = self.observe() if self.images_wanted else {"images": {}, "state": self._arm.state(self.world)}
        return seen, float(reached), terminated, truncated, {"success": success, "subtask": self._subtask()}

    def get_state(self) -> TabletopState:
        """Returns the state of the episode, from which `set_state` continues it as often as one likes."""
        return TabletopState(self.world, self.world.snapshot(), copy.deepcopy(self.task), self._steps, self._held)

    def set_state(self, state: TabletopState) -> None:
        """Returns to an earlier state of the present episode.

        Raises:
            ValueError: the state belongs to another scene.
        """
        if state.world is not self._world:
            raise ValueError("the state is one of another scene; reset to its seed first")
        self.world.restore(state.physics)
        self._task, self._steps, self._held = copy.deepcopy(state.task), state.steps, state.held

    def observe(self) -> dict[str, Any]:
        """Returns the current observation."""
        world = self.world
        if self._renderer is None:
            self._renderer = Renderer(world.model, self._size)
        images = {name: self._renderer.render(world.model, world.data, name) for name in CAMERAS}
        return {"images": images, "state": self._arm.state(world)}

    def render(self) -> np.ndarray:
        """Returns the image of the front camera, uint8 (H, W, 3), for gymnasium's tools."""
        return self.observe()["images"]["front"]

    def objects(self) -> list[SceneObject]:
        """Returns name, colour, position and label of all objects except distractors, and of the tool."""
        found = [
            SceneObject(
                part.name,
                part.colour,
                _triple(self.world.position(part.body)),
                part.label if isinstance(part, Labelled) else "",
            )
            for part in self.world.objects
            if not isinstance(part, Distractor)
        ]
        return [*found, SceneObject("tool", "", _triple(self.world.tool))]

    def sample_scene(self, seed: int) -> dict[str, Any]:
        """Samples a static scene of this task and returns its observation; no physics runs.

        The pose of the tool is random, and in a third of the scenes it holds a block. Visual question answering uses
        it: `objects()` then describes this scene.
        """
        rng = np.random.default_rng([seed, _SCENES])
        self._build(rng)
        world, blocks = self.world, self.world.blocks()
        held = [str(rng.choice([block.body for block in blocks]))] if blocks and rng.random() < 1 / 3 else []
        for low in (0.02, 0.02, 0.02, 0.12):
            self._arm.randomize_pose(world, rng, low, 0.2)
            for body in held:
                self._arm.hold(world, body)
            world.forward()
            if not world.is_penetrating([*self._arm.bodies, *held]):
                break
        return self.observe()

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _subtask(self) -> str:
        return self.task.expert_action(self.world).subtask

    def _build(self, rng: np.random.Generator) -> None:
        self._task = self._task_class.sample(rng)
        appearance = Appearance()
        objects: tuple[TableObject, ...] = self._task.objects
        if self._randomized:
            appearance = appearance.randomized(rng)
            objects = (*objects, *random_clutter(rng, objects, self._task.clutter))
        objects = tuple(sorted(objects, key=lambda part: part.body))
        kinds = tuple(part.body for part in objects)
        if kinds not in self._worlds:
            self._worlds[kinds] = World(self._arm, objects, self._size)
        self._world = self._worlds[kinds]
        self._world.arrange(objects, appearance)

    def _checked(self, action: Float32[np.ndarray, " A"]) -> Float32[np.ndarray, " A"]:
        values = np.asarray(action, dtype=np.float32)
        if values.shape != self.action_space.shape:
            raise ValueError(f"the action has shape {values.shape}, this robot takes {self.action_space.shape}")
        if not np.isfinite(values).all():
            raise ValueError(f"the action has values that are not finite: {values}")
        return np.clip(values, self._low, self._high)


def _triple(position: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in position)
    assert math.isfinite(x + y + z), "the physics has diverged"
    return x, y, z
