"""Still scenes of LIBERO for grounding: a frame of an episode, and what is in it, called as in the instructions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from wla.envs.family import Position, VisibleObject
from wla.envs.libero.tasks import SUITE_OF, instruction
from wla.envs.mujoco_render import view_of

if TYPE_CHECKING:
    from wla.envs.libero.env import LiberoEnv

_SCENES = 0x5CE7E  # separates the random stream of scenes from that of the episodes with the same seed
_RANDOM_STEPS, _EXPERT_STEPS = 10, 50
"""Most control steps before a scene: at random, and, in half of the scenes, of the expert."""
_WORDS = {
    "akita_black_bowl": "black bowl",
    "glazed_rim_porcelain_ramekin": "ramekin",
    "cookies": "cookie box",
    "flat_stove": "stove",
}
"""The simulator's names -> the instructions' words, where they are not the same."""


def sample_scene(env: LiberoEnv, seed: int) -> dict[str, Any]:
    """Samples a frame of an episode of the environment's task and returns its observation.

    The hand first moves at random, then, in half of the scenes, for a random time as the expert does, where the task
    has one.
    """
    from wla.envs.libero.expert import LiberoExpert, aim, motion
    from wla.envs.libero.robot import observation
    from wla.envs.libero.scene import Scene

    rng = np.random.default_rng([seed, _SCENES])
    env.reset(seed=seed)
    simulation = env.simulation
    simulation.images_wanted = False
    random_motion = np.append(rng.uniform(-1, 1, 6) * np.repeat([1.0, 0.3], 3), -1.0)
    for _ in range(rng.integers(_RANDOM_STEPS)):
        simulation.step(random_motion)
    if env.task in LiberoExpert.tasks and rng.random() < 0.5:
        for _ in range(rng.integers(_EXPERT_STEPS)):
            scene = Scene(simulation.robosuite)
            simulation.step(np.clip(motion(scene, aim(scene)), -1, 1))
    simulation.images_wanted = True
    seen, _ = simulation.step(np.append(np.zeros(6), rng.choice([-1.0, 1.0])))
    return observation(seen, env.protocol)


def visible_objects(env: LiberoEnv, cameras: Iterable[str]) -> list[VisibleObject]:
    """The objects and fixtures of the current scene, and how the given cameras see them."""
    names = {own: name for name, own in env.protocol.cameras.items()}
    inner = env.simulation.robosuite
    found = []
    for name in (*inner.objects_dict, *inner.fixtures_dict):
        x, y, z = (float(value) for value in inner.sim.data.body_xpos[inner.obj_body_id[name]])
        views = {camera: _view(env, names[camera], (x, y, z)) for camera in cameras}
        found.append(VisibleObject(name=_name(env.task, name), position=(x, y, z), views=views))
    return found


def _name(task: str, own: str) -> str:
    """What an instruction calls an object. Of two alike, the one to take is called after its place."""
    kind = re.sub(r"_\d+$", "", own)
    name = _WORDS.get(kind, kind.replace("_", " "))
    if SUITE_OF[task] == "libero_spatial" and kind == "akita_black_bowl":
        placed = instruction(task).removeprefix("pick up the ").removesuffix(" and place it on the plate")
        return placed if own.endswith("_1") else "other black bowl"
    return name


def _view(env: LiberoEnv, camera: str, position: Position) -> tuple[float, float, float, float, float]:
    sim = env.simulation.robosuite.sim
    u, v, x, y, z = view_of(sim.model._model, sim.data._data, camera, position)
    # Images that are turned are upright and mirrored, the others upside down.
    return (1 - u, v, -x, y, z) if env.protocol.turned else (u, 1 - v, x, -y, z)
