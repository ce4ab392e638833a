"""The scripted expert as a policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wla.envs.tabletop.env import TabletopEnv
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState


class Expert(BasePolicy[PolicyState]):
    """Policy that solves the current episode from the simulator's state instead of images.

    Chunks have one action and its subtask. The action depends only on the current scene and on the progress that the
    task has recorded so far.
    """

    def __init__(self, env: TabletopEnv) -> None:
        self._env = env
        self.robot_spec = env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        world = self._env.world
        expert_action = self._env.task.expert_action(world)
        action = world.arm.action(world, expert_action)
        subtasks = (expert_action.subtask,)
        return ActionChunk(action[None], subtasks), replace(state, num_calls=state.num_calls + 1, subtasks=subtasks)
