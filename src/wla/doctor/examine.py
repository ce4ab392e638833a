"""All checks of one environment, with recorded episodes of it or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from wla.doctor.finding import Finding
from wla.doctor.image_checks import check_frames, check_starts
from wla.doctor.other_checks import check_gripper, check_motion, check_spec, check_success
from wla.doctor.state_checks import check_rotations, check_state
from wla.doctor.trajectories import Trajectory, replay, run, run_policy
from wla.types import Env, Policy


def examine(
    env: Env, expert: Policy[Any] | None, recordings: Sequence[Trajectory], episodes: int
) -> tuple[list[Finding], list[Trajectory]]:
    """All that is found about one environment, and the episodes that it showed; recordings: of it, or none."""
    mismatch = check_spec(env)
    if mismatch is not None:
        return [mismatch], []
    replayed = replay(env, recordings)
    paired = [each for each in recordings if each.seed is not None]
    seeds = [each.seed for each in paired if each.seed is not None][:episodes] or list(range(10_000, 10_000 + episodes))
    own = [] if replayed or expert is None else [run_policy(env, expert, seed) for seed in seeds]
    shown = replayed or own or list(recordings)
    starts = replayed or own or [_start(env, seed) for seed in seeds]
    again = _start(env, seeds[0])
    others = starts[1:] if len(starts) > 2 else [*starts[1:], *(_start(env, seeds[0] + step) for step in (1, 2))]
    names = env.robot_spec.observation.state_names
    start = check_starts(starts[0], again, others, paired, replayed)
    frames = check_frames(recordings, starts)
    if start.ok is False:  # other episodes than the recorded ones tell nothing more
        paired = replayed = []
    gripper, closes = check_gripper(env, seeds[0], paired, replayed)
    rotations, turned = check_rotations(names, paired, replayed)
    findings = [
        *frames,
        start,
        check_state(names, paired, replayed, closes | turned),
        *rotations,
        check_motion(env, seeds[0]),
        gripper,
        check_success(paired, replayed, own),
    ]
    return findings, shown


def _start(env: Env, seed: int) -> Trajectory:
    return run(env, seed, lambda step, observation: None)
