"""Push-T (gym-pusht): push a T-shaped block onto its outline, in the plane. Without scripted expert."""

from __future__ import annotations

from wla.envs.gym.family import gym_tasks
from wla.envs.gym.mapping import ActionMapping, GymMapping, StateMapping
from wla.envs.requirements import installed_versions
from wla.envs.seeds import BENCHMARK_SEED_RANGES

PUSH_T = GymMapping(
    id="gym_pusht/PushT-v0",
    module="gym_pusht",
    task="push_t",
    embodiment="pusht",
    instruction="push the T-shaped block onto its outline",
    success="is_success",  # 95 % of the outline are covered
    rate_hz=10,
    max_steps=300,
    images={"front": "pixels"},
    state=StateMapping(keys=("agent_pos",), names=("x", "y"), units=("px", "px"), frame="world"),
    action=ActionMapping(names=("x", "y"), units=("px", "px"), frame="world"),
    kwargs={"obs_type": "pixels_agent_pos", "render_mode": "rgb_array"},
)
FAMILY = gym_tasks(
    "pusht",
    [PUSH_T],
    versions=installed_versions("gym-pusht", "pymunk"),
    requirements=("gym-pusht==0.1.8",),
    seeds=BENCHMARK_SEED_RANGES,
)
