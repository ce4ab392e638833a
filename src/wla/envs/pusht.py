"""Push-T (gym-pusht): push a T-shaped block onto its outline, in the plane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wla.envs.family import VisibleObject
from wla.envs.gym.env import GymEnv
from wla.envs.gym.family import gym_tasks
from wla.envs.gym.mapping import ActionMapping, GymMapping, StateMapping
from wla.envs.requirements import installed_versions
from wla.envs.seeds import BENCHMARK_SEED_RANGES
from wla.types import Env, Policy


def _make_expert(env: Env) -> Policy:
    from wla.envs.pusht_expert import PushTExpert  # needs gym-pusht

    assert isinstance(env, GymEnv), f"{type(env).__name__} is not of this family"
    return PushTExpert(env)


def _sample_scene(env: GymEnv, seed: int) -> dict[str, Any]:
    return env.reset(seed=seed)[0]


def _objects(env: GymEnv, cameras: Iterable[str]) -> list[VisibleObject]:
    """The pusher and two ends of the block, in pixels; for the camera a pixel is a millimetre, far below it."""
    block = env.unwrapped.block
    places = {
        "pusher": env.unwrapped.agent.position,
        "bar of the block": block.local_to_world(_BAR),
        "end of the block": block.local_to_world(_END),
    }
    return [
        VisibleObject(
            name=name,
            position=(x, y, 0.0),
            views={
                camera: (x / _SIDE, y / _SIDE, (x - _SIDE / 2) / 1000, (_SIDE / 2 - y) / 1000, -_SIDE / 1000)
                for camera in cameras
            },
        )
        for name, (x, y) in places.items()
    ]


_SIDE = 512
_BAR, _END = (0, 15), (0, 120)
"""Middle of the bar of the T, and end of its stem, in the block's frame."""

PUSH_T = GymMapping(
    id="gym_pusht/PushT-v0",
    module="gym_pusht",
    task="push_t",
    embodiment="pusht",
    instruction="push the T-shaped block onto its outline",
    success="is_success",  # 95 % of the outline are covered
    rate_hz=10,
    max_steps=300,
    images={"front": "pixels"},
    state=StateMapping(keys=("agent_pos",), names=("x", "y"), units=("px", "px"), frame="world"),
    action=ActionMapping(names=("x", "y"), units=("px", "px"), frame="world"),
    kwargs={"obs_type": "pixels_agent_pos", "render_mode": "rgb_array"},
)
FAMILY = gym_tasks(
    "pusht",
    [PUSH_T],
    versions=installed_versions("gym-pusht", "pymunk"),
    requirements=("gym-pusht==0.1.8",),
    make_expert=_make_expert,
    sample_scene=_sample_scene,
    objects=_objects,
    seeds=BENCHMARK_SEED_RANGES,
)
