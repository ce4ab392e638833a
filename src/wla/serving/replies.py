"""What a server says: about its policy, and with each chunk."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image

from wla.serving.session import Imagines, ReadsPastImages
from wla.serving.wire import pack
from wla.types import ActionChunk, Policy, PolicyState

PROTOCOLS = ("openpi", "roboarena", "wla/1")


def metadata(policy: Policy, name: str, names: Sequence[str]) -> dict[str, Any]:
    """The first frame of a connection: what a client has to know before its first request.

    names: of an observation's parts.
    """
    spec = policy.robot_spec
    return {
        "policy": name,
        "protocols": list(PROTOCOLS),
        "checkpoint_sha256": policy.checkpoint_sha256,
        "robot": spec.model_dump(mode="json"),
        "observation": list(names),
        "image_sizes": {camera: list(size) for camera, size in spec.observation.cameras.items()},
        "control_frequency": spec.action.rate_hz,
        "action_dim": spec.action.dim,
        "reads_past_images": isinstance(policy, ReadsPastImages) and policy.reads_past_images,
        "imagines": isinstance(policy, Imagines) and policy.imagination is not None,
        "normalization": "none: states and actions are in the units of the robot",
    }


def reply(
    chunk: ActionChunk, prediction_id: int, state: Any, timing: dict[str, float], previous_ms: float | None
) -> bytes:
    """A chunk as openpi's clients read it. Nothing but `actions` is an array, since they slice every array by step.

    previous_ms: time of the connection's request before, from its arrival until its reply was sent.
    """
    fields: dict[str, Any] = {
        "actions": chunk.actions,
        "policy_timing": timing,
        "server_timing": timing if previous_ms is None else {**timing, "prev_total_ms": previous_ms},
        "wla/prediction_id": prediction_id,
        "wla/replan_steps": chunk.replan_steps or len(chunk.actions),
        "wla/subtasks": list(chunk.subtasks),
    }
    if isinstance(state, PolicyState):
        fields["wla/memory"] = [item.text for item in state.memory]
        fields["wla/memory_steps"] = [[item.start_step, item.end_step] for item in state.memory]
    if chunk.subgoal is not None:
        buffer = io.BytesIO()
        Image.fromarray(chunk.subgoal).save(buffer, "PNG")
        fields["wla/subgoal"] = buffer.getvalue()
    if chunk.candidates is not None:
        fields["wla/candidates"] = {
            "selected": chunk.candidates.selected,
            "scores": chunk.candidates.scores.tolist(),
            "subtasks": list(chunk.candidates.subtasks),
        }
    return pack(fields)
