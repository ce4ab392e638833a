"""The World Expert of `nano-memory`, further, and told what will be done: images that follow a candidate's actions.

Command:  wla train recipes/nano_memory_world.py --out outputs/nano_memory_world
Needs:    datasets/nano_memory and datasets/nano_tabletop (recipes/nano_memory.py), datasets/nano_rollouts
          (recipes/nano_value.py)

Rollouts were recorded as they were done, so their actions are what led to the next image. In recordings of experts that
were kicked they are not always, and in corrections seldom, so these are not here.

Hardware: 2 CPU cores with bf16.
"""

from pathlib import Path

from wla.cli.command import load_recipe
from wla.data.loader import DatasetConfig
from wla.training.world_training import WorldTraining


def config() -> WorldTraining:
    before: WorldTraining = load_recipe(Path(__file__).with_name("nano_world.py"))
    datasets = (
        DatasetConfig(path="datasets/nano_rollouts", weight=0.6),
        DatasetConfig(path="datasets/nano_memory", weight=0.2),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
    )
    return before.model_copy(update={"policy": "nano-memory", "datasets": datasets}).override(["loop.optim.steps=2000"])
