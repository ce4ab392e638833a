"""Action conditioning of a World Expert: the chunk that it reads, and the motion that the actions cause."""

from __future__ import annotations

from wla.data.action_transform import ActionTransform
from wla.data.normalize import Normalizer
from wla.models.experts.configs import ChunkConditionConfig, MotionConfig
from wla.models.model_config import ModelInterface
from wla.specs import UNKNOWN, RobotSpec


def chunk_condition(
    interface: ModelInterface, condition_dropout: float, motion: MotionConfig | None
) -> ChunkConditionConfig:
    """The condition on chunks of the model's actions, left out for a fraction `condition_dropout` of the samples."""
    return ChunkConditionConfig(
        action_dim=interface.action_dim,
        state_dim=interface.state_dim,
        chunk=interface.chunk,
        condition_dropout=condition_dropout,
        motion=motion,
    )


def require_same_motion(known: MotionConfig | None, num_frequencies: int, policy: str) -> None:
    """ValueError when an expert that is fine-tuned was conditioned on motion in another number of frequencies."""
    if known is not None and known.num_frequencies != num_frequencies:
        raise ValueError(
            f"num_frequencies {num_frequencies}: policy {policy} was trained with {known.num_frequencies}; leave "
            "num_frequencies out, or set heads to start from a new World Expert"
        )


def motion_config(robot: RobotSpec, state: Normalizer, actions: ActionTransform, num_frequencies: int) -> MotionConfig:
    """The actions that add to a part of the state: those named d and its name. ValueError when the robot has none."""
    names, represented, action = robot.observation.state_names, actions.representation.names, actions.normalizer
    pairs = [
        (names.index(name[1:]), represented.index(name))
        for name, kind in zip(robot.action.names, robot.action.kinds, strict=True)
        if kind == "delta" and name.startswith("d") and name[1:] in names and name in represented
    ]
    same_frame = UNKNOWN != robot.action.frame == robot.observation.state_frame
    if not pairs or not same_frame:
        raise ValueError(
            f"num_frequencies: no action of {robot.embodiment} adds to its state ({', '.join(robot.action.names)} and "
            f"{', '.join(names)}, in the same frame); leave num_frequencies away"
        )
    # A part of the state that never changed in the statistics is 0 wherever it is, so nothing moves it.
    units = [float(state.inverse_scale[s]) for s, _ in pairs]
    return MotionConfig(
        state=tuple(s for s, _ in pairs),
        action=tuple(a for _, a in pairs),
        gain=tuple(float(action.scale[a]) * unit for (_, a), unit in zip(pairs, units, strict=True)),
        offset=tuple(float(action.center[a]) * unit for (_, a), unit in zip(pairs, units, strict=True)),
        num_frequencies=num_frequencies,
    )
