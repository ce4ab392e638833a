"""The benchmark's scripted policies as an expert."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from wla.envs.metaworld.env import MetaWorldEnv
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState


class MetaWorldExpert(BasePolicy[PolicyState]):
    """Policy that solves the current episode from object and goal positions, which observations do not show.

    Chunks have one action and no subtask. The action depends only on the current scene.
    """

    def __init__(self, env: MetaWorldEnv) -> None:
        self._env = env
        self.robot_spec = env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PolicyState:
        return PolicyState(instruction, seed=seed)

    def act(self, observation: Observation, state: PolicyState, **options: Any) -> tuple[ActionChunk, PolicyState]:
        return ActionChunk(self._env.expert_action()[None]), replace(state, num_calls=state.num_calls + 1)
