"""A task of LIBERO as an environment of this package, under one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from jaxtyping import Float32, UInt8

from wla.envs.libero.protocols import PROTOCOLS
from wla.envs.libero.robot import observation, robot_spec, simulator_action
from wla.envs.libero.tasks import SUITE_OF, instruction
from wla.envs.seeds import BENCHMARK_SEED_RANGES, is_evaluation

if TYPE_CHECKING:
    from wla.envs.libero.simulation import Simulation

HOLD_STEPS = 5
"""Consecutive control steps for which the goal must be reached for it to be held."""


class LiberoEnv(gymnasium.Env):
    """One task, a `wla.types.Env`.

    An evaluation seed 300000 + k is trial k of the protocol: the benchmark's initial state k, counted round. All other
    seeds place objects and fixtures anew, as the benchmark does, so that nothing is learned from those states.

    Observations: images, uint8 (image_size, image_size, 3), and "state", float32 (S,). Actions: float32 (7,), clipped
    to the limits. Names, order, units and signs are the protocol's (`robot_spec`). Reward: 1 where the goal is reached.

    Success is the benchmark's: the goal is reached at any time within the protocol's limit. The episode ends when it
    was held (`HOLD_STEPS`), which info["held"] states, or after the last step.

    Args:
        task: name in the benchmark.
        protocol: key of `PROTOCOLS`.
        image_size: side of the square images, pixels; the protocol's when None.

    images_wanted: whether observations of `step` have images, which take most of its time.
    """

    images_wanted = True
    metadata: dict[str, Any] = {  # noqa: RUF012 - gymnasium declares it as a plain attribute
        "render_modes": ["rgb_array"],
        "render_fps": 20,
    }

    def __init__(self, task: str, *, protocol: str = next(iter(PROTOCOLS)), image_size: int | None = None) -> None:
        self.task, self.protocol = task, PROTOCOLS[protocol]
        self.render_mode = "rgb_array"
        self._size = self.protocol.image_size if image_size is None else image_size
        self.robot_spec = robot_spec(self.protocol, self._size)
        self.max_steps = self.protocol.limits[SUITE_OF[task]]
        action, seen = self.robot_spec.action, self.robot_spec.observation
        low, high = (np.array(limits, np.float32) for limits in (action.low, action.high))
        self.action_space = gymnasium.spaces.Box(low, high, dtype=np.float32)
        image = gymnasium.spaces.Box(0, 255, (self._size, self._size, 3), dtype=np.uint8)
        self.observation_space = gymnasium.spaces.Dict(
            {
                "images": gymnasium.spaces.Dict(dict.fromkeys(seen.cameras, image)),
                "state": gymnasium.spaces.Box(-np.inf, np.inf, (seen.state_dim,), dtype=np.float32),
            }
        )
        self._simulation: Simulation | None = None  # made at the first reset: reading meshes takes seconds
        self._observation: dict[str, Any] = {}
        self._succeeded, self._held, self._steps = False, 0, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        """Starts an episode and returns its first observation and info with instruction and success.

        ValueError: options are given; there are none. OSError: the simulator cannot render.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"libero has no reset options, got {sorted(options)}")
        if self._simulation is None:
            from wla.envs.libero.simulation import Simulation

            self._simulation = Simulation(self.task, self.protocol, self._size)
        chosen = int(self.np_random.integers(2**31)) if seed is None else seed
        trial = chosen - BENCHMARK_SEED_RANGES["evaluation"].start if is_evaluation(seed) else None
        own = chosen if trial is None else self.protocol.seed + trial * self.protocol.seed_step
        self._observation = observation(self._simulation.reset(own, trial), self.protocol)
        self._succeeded, self._held, self._steps = False, 0, 0
        return self._observation, {"instruction": instruction(self.task), "success": False}

    def step(self, action: Float32[np.ndarray, " A"]) -> tuple[dict, float, bool, bool, dict]:
        """Runs one control step (50 ms) and returns observation, reward, terminated, truncated and info.

        ValueError: the action has the wrong shape or values that are not finite.
        """
        values = np.asarray(action, dtype=np.float32)
        if values.shape != self.action_space.shape or not np.isfinite(values).all():
            raise ValueError(f"the action is {values}; this robot takes 7 finite numbers")
        self.simulation.images_wanted = self.images_wanted
        seen, reached = self.simulation.step(simulator_action(values, self.protocol))
        self._observation = observation(seen, self.protocol)
        if not self.images_wanted:
            self._observation["images"] = {}
        self._steps += 1
        self._held = self._held + 1 if reached else 0
        self._succeeded |= reached
        terminated = self._held >= HOLD_STEPS
        found = {"success": self._succeeded, "held": terminated}
        return self._observation, float(reached), terminated, self._steps >= self.max_steps and not terminated, found

    @property
    def simulation(self) -> Simulation:
        """The benchmark's simulator. RuntimeError before the first reset."""
        if self._simulation is None:
            raise RuntimeError("the environment has no scene yet: call reset() first")
        return self._simulation

    def render(self) -> UInt8[np.ndarray, "H W 3"]:
        """Returns the image of the primary camera for gymnasium's tools."""
        return self._observation["images"][self.robot_spec.observation.primary_camera]

    def close(self) -> None:
        if self._simulation is not None:
            self._simulation.close()
            self._simulation = None
