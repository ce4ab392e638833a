"""A model server for vla-evaluation-harness, whose benchmarks connect to it.

    python -m wla.serving.adapters.vla_eval POLICY --port 8000

Every observation reaches the policy, as in `wla eval`: it acts where its chunk is executed, and observes the steps
between.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float32
from vla_eval.model_servers.base import SessionContext
from vla_eval.model_servers.predict import PredictModelServer
from vla_eval.model_servers.serve import serve
from vla_eval.specs import (
    GRIPPER_CLOSE_POS,
    IMAGE_RGB,
    LANGUAGE,
    POSITION_DELTA,
    ROTATION_AA,
    STATE_EEF_POS_AA_GRIP,
    DimSpec,
)

from wla.serving.open_policy import open_policy
from wla.types import Observation, Policy


@dataclass(frozen=True)
class Convention:
    """How a benchmark names and measures what a robot of ours sees and does.

    cameras: our camera -> theirs. gripper: index of the action that is 0 closed .. 1 open here and -1 open .. 1 closed
    there. action, observation: the specs that the harness compares with the benchmark's. parameters: what the benchmark
    is asked to send.
    """

    cameras: Mapping[str, str] = field(default_factory=dict)
    gripper: int | None = None
    action: Mapping[str, DimSpec] = field(default_factory=dict)
    observation: Mapping[str, DimSpec] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


CONVENTIONS = {
    "libero_panda": Convention(
        cameras={"image": "agentview", "wrist_image": "wrist"},
        gripper=6,
        action={"position": POSITION_DELTA, "rotation": ROTATION_AA, "gripper": GRIPPER_CLOSE_POS},
        observation={"image": IMAGE_RGB, "state": STATE_EEF_POS_AA_GRIP, "language": LANGUAGE},
        parameters={"send_wrist_image": True, "send_state": True},
    )
}
"""Robot -> convention. Benchmarks of other robots use the names, units and signs of the policy's robot."""


@dataclass
class _Session:
    state: Any
    actions: list[Float32[np.ndarray, " A"]] = field(default_factory=list)


class WLAModelServer(PredictModelServer):
    """Serves a policy; sessions are computed in batches."""

    def __init__(self, policy: str | Policy[Any], *, max_batch_size: int = 16, robot: str | None = None) -> None:
        """policy: a checkpoint, the address of a server, or a policy. robot: of a checkpoint for several."""
        super().__init__(max_batch_size=max_batch_size)
        self._policy = open_policy(policy, robot) if isinstance(policy, str) else policy
        self._convention = CONVENTIONS.get(self._policy.robot_spec.embodiment, Convention())
        self._sessions: dict[str, _Session] = {}

    async def on_episode_start(self, config: dict[str, Any], ctx: SessionContext) -> None:
        await super().on_episode_start(config, ctx)
        self._sessions.pop(ctx.session_id, None)

    async def on_episode_end(self, result: dict[str, Any], ctx: SessionContext) -> None:
        await super().on_episode_end(result, ctx)
        self._sessions.pop(ctx.session_id, None)

    def predict_batch(
        self, obs_batch: list[dict[str, Any]], ctx_batch: list[SessionContext]
    ) -> list[dict[str, np.ndarray]]:
        """One action per session and step; several steps of a session, as the live runner may send, in their order."""
        actions: list[dict[str, np.ndarray]] = []
        while len(actions) < len(obs_batch):
            begin = len(actions)
            end = begin + self._distinct(ctx_batch[begin:])
            actions += self._step(obs_batch[begin:end], ctx_batch[begin:end])
        return actions

    def _distinct(self, contexts: Sequence[SessionContext]) -> int:
        """How many of the first contexts are of sessions of their own."""
        names = [context.session_id for context in contexts]
        return next((index for index in range(1, len(names)) if names[index] in names[:index]), len(names))

    def _step(self, observations: Sequence[dict[str, Any]], contexts: Sequence[SessionContext]) -> list[dict[str, Any]]:
        sessions = [self._session(fields, ctx) for fields, ctx in zip(observations, contexts, strict=True)]
        seen = [self._observation(fields) for fields in observations]
        due = [index for index, session in enumerate(sessions) if not session.actions]
        for index in set(range(len(sessions))) - set(due):
            sessions[index].state = self._policy.observe(seen[index], sessions[index].state)
        if due:
            answers = self._policy.act_batch([seen[i] for i in due], [sessions[i].state for i in due])
            for index, (chunk, state) in zip(due, answers, strict=True):
                sessions[index].state = state
                sessions[index].actions = list(chunk.actions[: chunk.replan_steps])
        return [{"actions": self._converted(session.actions.pop(0))} for session in sessions]

    def get_action_spec(self) -> dict[str, DimSpec]:
        action = self._policy.robot_spec.action
        return dict(self._convention.action) or {"action": DimSpec("action", action.dim, ", ".join(action.names))}

    def get_observation_spec(self) -> dict[str, DimSpec]:
        return dict(self._convention.observation) or {"image": IMAGE_RGB, "language": LANGUAGE}

    def get_observation_params(self) -> dict[str, Any]:
        return dict(self._convention.parameters)

    def _session(self, fields: dict[str, Any], ctx: SessionContext) -> _Session:
        if ctx.session_id not in self._sessions:
            instruction = fields.get("task_description")
            if not isinstance(instruction, str):
                raise ValueError("the benchmark sends no task_description, and the policy is asked by one")
            self._sessions[ctx.session_id] = _Session(self._policy.reset(instruction))
        return self._sessions[ctx.session_id]

    def _observation(self, fields: dict[str, Any]) -> Observation:
        spec, images = self._policy.robot_spec.observation, {}
        for camera in spec.cameras:
            name = self._convention.cameras.get(camera, camera)
            if name not in fields.get("images", {}):
                raise ValueError(
                    f"the benchmark sends no image {name!r}; it sends {', '.join(fields.get('images', {}))}"
                )
            images[camera] = np.asarray(fields["images"][name])
        state = fields.get("states", fields.get("state", np.zeros(0)))
        return Observation(images, np.asarray(state, np.float32))

    def _converted(self, action: Float32[np.ndarray, " A"]) -> Float32[np.ndarray, " A"]:
        if self._convention.gripper is None:
            return action
        converted = action.copy()
        converted[self._convention.gripper] = 1 - 2 * action[self._convention.gripper]
        return converted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("policy", help="a checkpoint, or ws://HOST:PORT of `wla serve`")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args()
    serve(WLAModelServer(args.policy), host=args.host, port=args.port)


if __name__ == "__main__":
    main()
