"""What imagining the future does for acting: the short tasks with and without, and with other frames to imagine.

Command:  wla ablate recipes/ablate_world.py --workers 2 --out outputs/ablate_world
Needs:    datasets/nano_tabletop (recipes/nano_tabletop.py)
"""

from pathlib import Path

from wla.cli.command import load_recipe
from wla.models.world_expert import ChunkConditionConfig
from wla.training.ablation import Ablation


def config() -> Ablation:
    reads = ChunkConditionConfig(action_dim=5, state_dim=5, chunk=8).model_dump_json()
    # A quarter as long as the recipe itself, so that five variants take an hour.
    recipe = load_recipe(Path(__file__).with_name("nano_tabletop.py")).override(
        ["loop.optim.steps=500", "start.base=nano-base", "start.codec=nano-tabletop", "action_noise=0"]
    )
    return Ablation(
        recipe=recipe,
        variants={
            "full": (),
            "no world loss": ("weights.world=0",),
            "several target frames": ("targets=[2, 4, 6, 8]",),
            "a past frame": ("targets=[-8]",),
            "told the actions": (f"model.world_expert.actions={reads}",),
        },
        tasks=("place", "stack", "push", "press", "drawer", "place_two"),
        episodes=50,
    )
