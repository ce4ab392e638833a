"""How evaluators of LIBERO measure: what differs between them, as a table. A score counts under one of these names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

AGENT_VIEW, IN_HAND = "agentview", "robot0_eye_in_hand"
"""The simulator's names of the two cameras that all evaluators show."""
StatePart = Literal["position", "axis_angle", "fingers", "joints"]


@dataclass(frozen=True)
class Protocol:
    """An evaluator's conventions.

    embodiment: name of the robot that it shows a policy; those that differ in numbers differ in name.
    trials: episodes per task, each from another of the benchmark's initial states.
    settle_steps, settle_action: executed before a policy acts, in the simulator's numbers.
    limits: suite -> control steps of an episode.
    seed, seed_step: trial k hands the simulator seed + k * seed_step, from which it places fixtures (stove, cabinet):
        initial states hold none of them.
    cameras: the simulator's name -> the policy's, the primary one first. turned: by 180 degrees, which sets them
        upright, and mirrors them; as they are, they are upside down. image_size: side, pixels.
    state: its parts, in their order.
    gripper: the numbers that open and close it, for a policy.
    """

    embodiment: str
    trials: int
    settle_steps: int
    settle_action: tuple[float, ...]
    limits: Mapping[str, int]
    seed: int
    seed_step: int = 0
    cameras: Mapping[str, str] = field(default_factory=lambda: {AGENT_VIEW: "image", IN_HAND: "wrist_image"})
    turned: bool = True
    image_size: int = 256
    state: tuple[StatePart, ...] = ("position", "axis_angle", "fingers")
    gripper: tuple[float, float] = (-1.0, 1.0)


_OPEN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
_LIMITS = {"libero_spatial": 220, "libero_object": 280, "libero_goal": 300, "libero_10": 520, "libero_90": 400}

PROTOCOLS: Mapping[str, Protocol] = {
    "openpi": Protocol("libero_panda_signed", 50, 10, _OPEN, _LIMITS, seed=7),
    # OpenVLA-OFT's, for whose gripper WLA-0 was published.
    "oft": Protocol("libero_panda", 50, 10, _OPEN, _LIMITS, seed=7, gripper=(1.0, 0.0)),
    "lerobot": Protocol(
        embodiment="libero_panda_lerobot",
        trials=30,
        settle_steps=10,
        settle_action=_OPEN,
        limits={**_LIMITS, "libero_spatial": 280},
        seed=1000,
        seed_step=1,
        cameras={AGENT_VIEW: "image", IN_HAND: "image2"},
    ),
    "original": Protocol(
        embodiment="libero_panda_joints",
        trials=20,
        settle_steps=5,
        settle_action=(0.0,) * 7,
        limits=dict.fromkeys(_LIMITS, 600),
        seed=10000,
        cameras={AGENT_VIEW: "agentview_rgb", IN_HAND: "eye_in_hand_rgb"},
        turned=False,
        image_size=128,
        state=("joints", "fingers"),
    ),
}
"""The first is the default."""
