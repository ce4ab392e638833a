"""The World Expert of `nano-memory`, further, and told what will be done: images that follow a candidate's actions.

Command:  wla train recipes/nano_memory_world.py --out outputs/nano_memory_world
Needs:    datasets/nano_memory and datasets/nano_tabletop (recipes/nano_memory.py)

Only experts' recordings: in corrections the actions are not those that led to the next image.

Hardware: 2 CPU cores with bf16.
"""

from pathlib import Path

from wla.cli.command import load_recipe
from wla.data.loader import DatasetConfig
from wla.training.world_training import WorldTraining


def config() -> WorldTraining:
    before: WorldTraining = load_recipe(Path(__file__).with_name("nano_world.py"))
    datasets = (
        DatasetConfig(path="datasets/nano_memory", weight=0.5),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.5),
    )
    return before.model_copy(update={"policy": "nano-memory", "datasets": datasets}).override(["loop.optim.steps=2000"])
