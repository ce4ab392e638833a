"""Ablation of the world loss: success rate on the short tasks with it, without it, and with other target frames.

Command:  wla ablate ablate_world --num-envs 2 --out outputs/ablate_world
Needs:    datasets/nano_tabletop (see nano_tabletop)
"""

from wla.models import ChunkConditionConfig
from wla.recipes import nano_tabletop
from wla.training import Ablation


def config() -> Ablation:
    condition = ChunkConditionConfig(action_dim=5, state_dim=5, chunk=8).model_dump_json()
    before = nano_tabletop.config()
    # A quarter as long as the recipe itself, so that five variants take an hour.
    loop = before.loop.replace(optim=before.loop.optim.replace(steps=500))
    init = before.init.replace(backbone="nano-base", codec="nano-tabletop")
    return Ablation(
        recipe=before.replace(init=init, action_noise=0.0, loop=loop),
        variants={
            "full": (),
            "no world loss": ("model.loss_weights.world=0",),
            "several target frames": ("subgoal_offsets=[2, 4, 6, 8]",),
            "a past frame": ("subgoal_offsets=[-8]",),
            "action-conditioned": (f"model.world_expert.actions={condition}",),
        },
        tasks=("place", "stack", "push", "press", "drawer", "place_two"),
        episodes=50,
    )
