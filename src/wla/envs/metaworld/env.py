"""A task of Meta-World as an environment of this package."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import mujoco
import numpy as np
from jaxtyping import Float32, UInt8

from wla.envs.family import Position
from wla.envs.metaworld.instructions import INSTRUCTIONS
from wla.envs.metaworld.objects import positions
from wla.envs.metaworld.robot import CAMERAS, CORNER2_POSITION, STATE_DIM, UPSIDE_DOWN, sawyer
from wla.envs.mujoco_render import Renderer, view_of

HOLD_STEPS = 5
"""Consecutive control steps for which the goal must be reached for it to be held."""
_SCENES = 0x5CE7E  # separates the random stream of scenes from that of the episodes with the same seed
_RANDOM_STEPS, _EXPERT_STEPS = 25, 90
"""Most control steps before a scene: at random, and of the expert, of whose episodes half are over by then."""


class MetaWorldEnv(gymnasium.Env):
    """One task, a `wla.types.Env`. Positions of objects, goal and instruction are determined by the reset seed.

    Observations: images, uint8 (image_size, image_size, 3), and "state", float32 (4,): position of the hand and opening
    of the gripper, without the goal. Actions: float32 (4,), clipped to the limits. Reward: the benchmark's.

    Success is the benchmark's: the goal is reached at any time within its 500 steps. The episode ends when it was held
    (`HOLD_STEPS`), which info["held"] states, or after the last step.

    Args:
        task: name in the benchmark.
        embodiment: key of `wla.envs.metaworld.robot.CAMERAS`.
        image_size: side of the square images, pixels.

    images_wanted: whether observations of `step` have images, which take nine tenths of its time.
    """

    images_wanted = True
    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as a plain attribute
        "render_modes": ["rgb_array"],
        "render_fps": 80,
    }

    def __init__(self, task: str, *, embodiment: str = "sawyer", image_size: int = 96) -> None:
        self._task, self._size = task, image_size
        self.render_mode = "rgb_array"
        self.robot_spec = sawyer(embodiment, image_size)
        self._cameras = CAMERAS[embodiment]
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (4,), dtype=np.float32)
        image = gymnasium.spaces.Box(0, 255, (image_size, image_size, 3), dtype=np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "images": gymnasium.spaces.Dict(dict.fromkeys(self._cameras, image)),
                "state": gymnasium.spaces.Box(-np.inf, np.inf, (STATE_DIM,), dtype=np.float32),
            }
        )
        self._simulation: Any = None  # made at the first reset: reading meshes takes a second
        self._renderer: Renderer | None = None
        self._full_state = np.zeros(0)
        self._succeeded, self._held = False, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts an episode and returns its first observation and info with instruction and success.

        ValueError: options are given; there are none.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"metaworld has no reset options, got {sorted(options)}")
        instruction = INSTRUCTIONS[self._task].choose(self.np_random, seed, {})
        self._build(int(self.np_random.integers(2**31)) if seed is None else seed)
        return self._observe(), {"instruction": instruction, "success": False}

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        """Runs one control step (12.5 ms) and returns observation, reward, terminated, truncated and info.

        ValueError: the action has the wrong shape or values that are not finite.
        """
        values = np.asarray(action, dtype=np.float32)
        if values.shape != self.action_space.shape or not np.isfinite(values).all():
            raise ValueError(f"the action is {values}; this robot takes 4 finite numbers")
        self._full_state, reward, _, truncated, info = self._simulation.step(np.clip(values, -1.0, 1.0))
        reached = bool(info["success"])
        self._held = self._held + 1 if reached else 0
        self._succeeded |= reached
        terminated = self._held >= HOLD_STEPS
        found = {"success": self._succeeded, "held": terminated}
        seen = self._observe() if self.images_wanted else {"images": {}, "state": self._state}
        return seen, float(reward), terminated, bool(truncated) and not terminated, found

    def expert_action(self) -> Float32[np.ndarray, " 4"]:
        """The action of the benchmark's scripted policy for the current state. RuntimeError before the first reset."""
        if self._simulation is None:
            raise RuntimeError("the environment has no scene yet: call reset() first")
        from metaworld.policies import ENV_POLICY_MAP

        with warnings.catch_warnings(action="ignore"):  # "Constant(s) may be too high": they are clipped
            action = ENV_POLICY_MAP[self._task]().get_action(self._full_state)
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def sample_scene(self, seed: int) -> dict[str, Any]:
        """Samples a frame of an episode of this task and returns its observation.

        The hand first moves at random, then for a random time as the expert does, so that objects are on the table,
        held, and where they belong. Visual question answering uses it: `objects()` then describes this scene.
        """
        rng = np.random.default_rng([seed, _SCENES])
        self._build(seed)
        motion = np.append(rng.uniform(-1, 1, 3), -1.0)
        for _ in range(rng.integers(_RANDOM_STEPS)):
            self._full_state, *_ = self._simulation.step(motion)
        for _ in range(rng.integers(_EXPERT_STEPS)):
            self._full_state, *_ = self._simulation.step(self.expert_action())
        return self._observe()

    def objects(self) -> dict[str, Position]:
        """Names and positions (metres, world) of objects and goal, which observations do not state."""
        return positions(self._task, self._full_state)

    def view_of(self, camera: str, position: Position) -> tuple[float, float, float, float, float]:
        """The view of a camera on a position, see `wla.envs.family.VisibleObject`."""
        u, v, x, y, z = view_of(self._simulation.model, self._simulation.data, camera, position)
        return (1 - u, 1 - v, -x, -y, z) if camera in UPSIDE_DOWN else (u, v, x, y, z)

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        """Returns the image of the primary camera for gymnasium's tools."""
        return self._observe()["images"][self._cameras[0]]

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None

    def _build(self, seed: int) -> None:
        if self._simulation is None:
            self._simulation = make_simulation(self._task)
        self._simulation.seed(seed)
        self._full_state, _ = self._simulation.reset()
        # The benchmark moves goals and objects after its last update, so the first image would show them elsewhere.
        mujoco.mj_kinematics(self._simulation.model, self._simulation.data)
        self._succeeded, self._held = False, 0

    def _observe(self) -> dict[str, Any]:
        model, data = self._simulation.model, self._simulation.data
        if self._renderer is None:
            self._renderer = Renderer(model, self._size)
        images = {name: _upright(self._renderer.render(model, data, name), name) for name in self._cameras}
        return {"images": images, "state": self._state}

    @property
    def _state(self) -> Float32[np.ndarray, " 4"]:
        return self._full_state[:STATE_DIM].astype(np.float32)


def make_simulation(task: str) -> Any:
    """The benchmark's own environment: goals drawn by its seed, and the goal in its observation, for the expert."""
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    simulation = ALL_V3_ENVIRONMENTS[task]()
    simulation._set_task_called = True  # instead of one of the 50 goals of `metaworld.MT1`
    simulation._freeze_rand_vec, simulation.seeded_rand_vec = False, True
    simulation._partially_observable = False
    simulation.__dict__.pop("sawyer_observation_space", None)  # cached, of the partial observation
    model = simulation.model
    model.vis.quality.offsamples = 0
    model.cam_pos[model.camera("corner2").id] = CORNER2_POSITION
    return simulation


def _upright(image: UInt8[np.ndarray, "H W 3"], camera: str) -> UInt8[np.ndarray, "H W 3"]:
    return np.ascontiguousarray(image[::-1, ::-1]) if camera in UPSIDE_DOWN else image
