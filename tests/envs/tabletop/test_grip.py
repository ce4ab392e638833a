from __future__ import annotations

import numpy as np
import pytest
from episodes import env_without_images

from wla.envs.tabletop.arm import ExpertAction


@pytest.mark.parametrize("embodiment", ["gantry", "scara"])
def test_the_gripper_closes_at_1_and_opens_at_minus_1(embodiment: str) -> None:
    env = env_without_images("place", embodiment=embodiment)
    env.sample_scene(0)
    world, block = env.world, env.world.blocks()[0].body
    world.arm.randomize_pose(world, np.random.default_rng(0), 0.1, 0.12)
    world.arm.hold(world, block)
    take, let_go = (world.arm.action(world, ExpertAction(np.zeros(3), grip, "")) for grip in ("take", "let go"))
    assert (take[-1], let_go[-1]) == (1.0, -1.0)
    for _ in range(3):
        env.step(take)
    assert world.arm.holds(world, block)
    for _ in range(3):
        env.step(let_go)
    assert not world.arm.holds(world, block)
