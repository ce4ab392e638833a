"""Two-armed ALOHA in simulation (gym-aloha): hand a cube over (with a scripted expert), insert a peg into a socket."""

from __future__ import annotations

from math import pi
from typing import Any

from wla.envs.gym.env import GymEnv
from wla.envs.gym.family import gym_tasks
from wla.envs.gym.mapping import ActionMapping, GymMapping, StateMapping
from wla.envs.requirements import installed_versions
from wla.envs.seeds import BENCHMARK_SEED_RANGES
from wla.types import Env, Policy

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
NAMES = tuple(f"{side}_{joint}" for side in ("left", "right") for joint in JOINTS)
UNITS = (*("rad",) * 6, "1") * 2


def _task(task: str, env_id: str, instruction: str) -> GymMapping:
    return GymMapping(
        id=env_id,
        module="gym_aloha",
        task=task,
        embodiment="aloha_sim",
        instruction=instruction,
        success="is_success",
        rate_hz=50,
        max_steps=400,  # as in ALOHA's own evaluation; gym-aloha registers 300
        images={"top": "pixels.top"},
        state=StateMapping(keys=("agent_pos",), names=NAMES, units=UNITS),
        action=ActionMapping(
            names=NAMES,
            units=UNITS,
            # gym-aloha states -1 .. 1 for all, which joints of the published demonstrations exceed.
            low=(*(-pi,) * 6, 0.0) * 2,
            high=(*(pi,) * 6, 1.0) * 2,
            gripper="0 closed .. 1 open",
        ),
        kwargs={"obs_type": "pixels_agent_pos"},
    )


def _make_expert(env: Env) -> Policy | None:
    from wla.envs.aloha_expert import AlohaExpert  # needs gym-aloha

    assert isinstance(env, GymEnv), f"{type(env).__name__} is not of this family"
    return AlohaExpert(env) if env.unwrapped.task == "transfer_cube" else None


def _render_top_only(env: GymEnv) -> None:
    """Leaves out the two cameras that gym-aloha renders as well and does not show: two thirds of the time of a step."""
    task = env.unwrapped._env.task

    def get_observation(physics: Any) -> dict[str, Any]:
        top = physics.render(height=480, width=640, camera_id="top")
        return {"qpos": task.get_qpos(physics), "images": {"top": top}}

    task.get_observation = get_observation


FAMILY = gym_tasks(
    "aloha",
    [
        _task("transfer_cube", "gym_aloha/AlohaTransferCube-v0", "pick up the cube and hand it over"),
        _task("insertion", "gym_aloha/AlohaInsertion-v0", "pick up peg and socket, and put them together"),
    ],
    versions=installed_versions("gym-aloha", "dm-control", "mujoco"),
    requirements=("gym-aloha==0.1.5",),
    prepare=_render_top_only,
    make_expert=_make_expert,
    seeds=BENCHMARK_SEED_RANGES,
)
