"""The scripted expert of Push-T; needs the extra `pusht`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from wla.envs.registry import load_family, make_env
from wla.types import Observation

pytest.importorskip("gym_pusht")

from wla.envs.pusht_expert import PlanState, PushTExpert

pytestmark = pytest.mark.slow
FAMILY = load_family("pusht")


def run(seed: int, shove: tuple[int, ...] = ()) -> tuple[bool, list[PlanState]]:
    """Success, and the expert's states; at the steps `shove` the pusher is sent elsewhere."""
    env = make_env("pusht", task="push_t")
    expert = FAMILY.make_expert(env)
    assert isinstance(expert, PushTExpert)
    raw, info = env.reset(seed=seed)
    states = [expert.reset(info["instruction"])]
    for step in range(300):
        chunk, state = expert.act(Observation(raw["images"], raw["state"]), states[-1])
        states.append(state)
        action = np.float32([20, 490]) if step in shove else chunk.actions[0]
        raw, _, terminated, _, info = env.step(action)
        if terminated:
            break
    env.close()
    return info["success"], states


def plans(states: list[PlanState]) -> int:
    return 1 + sum(len(after.plan) >= len(before.plan) for before, after in pairwise(states[1:]))


@pytest.mark.parametrize("seed", [10_000, 10_001, 10_002])
def test_pushes_found_by_simulation_solve_the_task(seed: int) -> None:
    success, states = run(seed)
    assert success
    assert plans(states) < 15  # the simulation foretells the environment: a plan is followed to its end


def test_goes_on_where_it_was_disturbed() -> None:
    success, states = run(10_000, shove=(12, 13, 14))
    assert success
    assert len(states) > 15


def test_objects_are_where_the_image_shows_them() -> None:
    env = make_env("pusht", task="push_t")
    assert FAMILY.sample_scene is not None
    assert FAMILY.objects is not None
    image = FAMILY.sample_scene(env, 10_000)["images"]["front"]
    found = {shown.name: shown.views["front"] for shown in FAMILY.objects(env, ["front"])}
    height, width = image.shape[:2]

    def colour(name: str) -> np.ndarray:
        u, v = found[name][:2]
        return image[int(v * height), int(u * width)].astype(int)

    red, _, blue = colour("pusher")
    assert blue - red > 100
    for name in ("bar of the block", "end of the block"):
        assert np.ptp(colour(name)) < 60, "grey, not the green of the outline"
        assert colour(name).max() < 220, "nor the white of the table"
    env.close()
