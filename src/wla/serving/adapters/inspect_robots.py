"""A policy for inspect-robots, found under the name `wla`.

    inspect-robots eval TASK --policy wla -P policy=ws://127.0.0.1:8000 --embodiment ROBOT

State may come as one vector, as fields with the names of the policy's state dimensions, or as several fields in their
order.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from inspect_robots.policy import PolicyBase, PolicyConfig, PolicyInfo
from inspect_robots.scene import Scene
from inspect_robots.spaces import ActionSemantics, Box, CameraSpec, ControlMode, ObservationSpace
from inspect_robots.types import Action, ActionChunk
from inspect_robots.types import Observation as PeerObservation

from wla.serving.open_policy import open_policy
from wla.specs import ActionSpec, ObservationSpec
from wla.types import Observation, Policy, PolicyState

_MODES: dict[tuple[str, str], ControlMode] = {
    ("joint", "absolute"): "joint_pos",
    ("joint", "delta"): "joint_delta",
    ("world", "absolute"): "eef_abs_pose",
    ("world", "delta"): "eef_delta_pose",
    ("tool", "delta"): "eef_delta_pose",
}


class WLAPolicyAdapter(PolicyBase):
    """Acts as inspect-robots asks. Its transcript has the subtasks and the memory of every call."""

    def __init__(
        self, policy: str | Policy[Any], state: str = "state", seed: int = 0, robot: str | None = None
    ) -> None:
        """policy: a checkpoint, the address of a server, or a policy. state: field of the whole state vector. robot: of
        a checkpoint for several.

        ValueError for a robot whose frame is unknown, or whose actions have no name there.
        """
        self._policy = open_policy(policy, robot) if isinstance(policy, str) else policy
        self._state_field, self._seed = state, seed
        spec = self._policy.robot_spec
        self.info = PolicyInfo(
            name=f"wla/{policy}" if isinstance(policy, str) else "wla",
            action_space=_action_space(spec.action),
            observation_space=_observation_space(spec.observation),
            control_hz=spec.action.rate_hz,
            checkpoint=self._policy.checkpoint_sha256,
        )
        self.config = PolicyConfig()
        self._state: Any = None
        self._transcript: list[dict[str, Any]] = []

    def reset(self, scene: Scene) -> None:
        seed = self._seed if scene.init_seed is None else scene.init_seed
        self._state = self._policy.reset(scene.instruction, seed=seed)
        self._transcript = []

    def act(self, observation: PeerObservation) -> ActionChunk:
        """As many actions as the policy advises to execute: all of a chunk are executed there."""
        instruction = observation.instruction
        if self._state is None or (instruction is not None and instruction != self._state.instruction):
            self._state = self._policy.reset(instruction or "", seed=self._seed)
        seen = self._observation(observation)
        began = time.perf_counter()
        chunk, state = self._policy.act(seen, self._state)
        actions = chunk.actions[: chunk.replan_steps]
        for _ in actions[1:]:  # the steps in between are not shown
            state = self._policy.observe(seen, state)
        self._state = state
        memory = [item.text for item in state.memory] if isinstance(state, PolicyState) else []
        step = observation.extra.get("env_step")
        self._transcript.append({"step": step, "subtasks": list(chunk.subtasks), "memory": memory})
        return ActionChunk(
            [Action(action.astype(np.float64)) for action in actions],
            control_hz=self._policy.robot_spec.action.rate_hz,
            inference_latency_s=time.perf_counter() - began,
        )

    def transcript(self) -> list[dict[str, Any]]:
        """A line per call: control step, predicted subtasks, memory."""
        return [dict(line) for line in self._transcript]

    def _observation(self, observation: PeerObservation) -> Observation:
        spec = self._policy.robot_spec.observation
        return Observation({name: observation.images[name] for name in spec.cameras}, self._vector(observation, spec))

    def _vector(self, observation: PeerObservation, spec: ObservationSpec) -> np.ndarray:
        fields = {name: np.atleast_1d(value).astype(np.float32) for name, value in observation.state.items()}
        if self._state_field in fields:
            vector = fields[self._state_field]
        elif set(spec.state_names) <= set(fields):
            vector = np.concatenate([fields[name] for name in spec.state_names])
        else:
            vector = np.concatenate([np.zeros(0, np.float32), *fields.values()])
        if vector.shape != (spec.state_dim,):
            raise ValueError(
                f"the state fields {', '.join(fields)} are {len(vector)} numbers, the policy needs {spec.state_dim}: "
                f"{', '.join(spec.state_names)}"
            )
        return vector


def _action_space(action: ActionSpec) -> Box:
    motions = {kind for name, kind in zip(action.names, action.kinds, strict=True) if "gripper" not in name}
    mode = _MODES.get((action.frame, motions.pop())) if len(motions) == 1 else None
    if mode is None:
        raise ValueError(
            f"actions of frame {action.frame!r} and kinds {', '.join(sorted(set(action.kinds)))} have no name in "
            "inspect-robots; state frame and kinds in the policy's robot.json"
        )
    gripped = any("gripper" in name for name in action.names)
    semantics = ActionSemantics(mode, gripper="continuous" if gripped else "none", dim_labels=action.names)
    if action.frame == "world":
        semantics = replace(semantics, frame="world")
    return Box((action.dim,), np.array(action.low), np.array(action.high), semantics)


def _observation_space(observation: ObservationSpec) -> ObservationSpace:
    return ObservationSpace(tuple(CameraSpec(name, *size) for name, size in observation.cameras.items()))
