"""What imagining the future does for acting: the short tasks with and without, and with other frames to imagine.

Command:  wla ablate ablate_world --workers 2 --out outputs/ablate_world
Needs:    datasets/nano_tabletop (nano_tabletop)
"""

from wla.models.experts.world_expert import ChunkConditionConfig
from wla.recipes import nano_tabletop
from wla.training.ablation import Ablation


def config() -> Ablation:
    reads = ChunkConditionConfig(action_dim=5, state_dim=5, chunk=8).model_dump_json()
    # A quarter as long as the recipe itself, so that five variants take an hour.
    recipe = nano_tabletop.config().override(
        ["loop.optim.steps=500", "init.backbone=nano-base", "init.codec=nano-tabletop", "action_noise=0"]
    )
    return Ablation(
        recipe=recipe,
        variants={
            "full": (),
            "no world loss": ("model.loss_weights.world=0",),
            "several target frames": ("subgoal_offsets=[2, 4, 6, 8]",),
            "a past frame": ("subgoal_offsets=[-8]",),
            "told the actions": (f"model.world_expert.actions={reads}",),
        },
        tasks=("place", "stack", "push", "press", "drawer", "place_two"),
        episodes=50,
    )
