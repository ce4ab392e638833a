"""A scripted expert for Push-T: it follows a plan for as long as the world does what the simulation predicted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wla.envs.gym.env import GymEnv
from wla.envs.pusht_planner import PlanStep, PushPlanner
from wla.types import ActionChunk, BasePolicy, Observation, PolicyState

AGENT_TOLERANCE, BLOCK_TOLERANCE = 4.0, 2.0
"""Distances in pixels from what a plan says, beyond which a new one is made."""


@dataclass(frozen=True)
class PlanState(PolicyState):
    """An episode of the expert, with what is left of its plan."""

    plan: tuple[PlanStep, ...] = ()


class PushTExpert(BasePolicy[PlanState]):
    """Policy that solves the current episode from the block's pose, which observations do not state.

    Chunks have one action. Where something else has moved the pusher or the block, it makes a new plan, so that it also
    continues from where another policy has led.
    """

    def __init__(self, env: GymEnv) -> None:
        self._env = env.unwrapped
        self._planner = PushPlanner()
        self.robot_spec = env.robot_spec

    def reset(self, instruction: str, *, seed: int = 0) -> PlanState:
        return PlanState(instruction, seed=seed)

    def act(self, observation: Observation, state: PlanState, **options: Any) -> tuple[ActionChunk, PlanState]:
        agent = np.array(self._env.agent.position)
        pose = np.array([*self._env.block.position, self._env.block.angle])
        plan = state.plan
        if not plan or not self._agrees(plan[0], agent, pose):
            plan = tuple(self._planner.plan(agent, np.array(self._env.agent.velocity), pose))
        following = replace(state, plan=plan[1:], num_calls=state.num_calls + 1)
        if not plan:  # nowhere to push from: another step may tell
            return ActionChunk(agent.astype(np.float32)[None]), following
        subtask = "push the block" if plan[0].pushing else "go to the block"
        return ActionChunk(plan[0].target.astype(np.float32)[None], subtasks=(subtask,)), following

    def _agrees(self, step: PlanStep, agent: np.ndarray, pose: np.ndarray) -> bool:
        block = abs(self._planner.distance(pose) - self._planner.distance(step.pose))
        return bool(np.linalg.norm(step.agent - agent) < AGENT_TOLERANCE) and block < BLOCK_TOLERANCE
