"""The World Expert of `nano-memory`, further, and told what will be done: images that follow a candidate's actions.

Commands, with COLLECT for `wla collect --policy nano-memory --record done --no-kicks --workers 2 --expert-share 0.3 \
--astray-share 0.4 --seed 7000`:
    COLLECT --episodes 60 --setting clean randomized --out datasets/nano_rollouts/short_astray
    COLLECT --episodes 50 --tasks press_count cover_blocks battery_try rank_try \
        --out datasets/nano_rollouts/memory_astray
    wla train recipes/nano_memory_world.py --out outputs/nano_memory_world
Needs datasets/nano_memory and datasets/nano_tabletop too (recipes/nano_memory.py), and
outputs/nano_memory_corrected/checkpoint (recipes/nano_memory_corrected.py); with policy=nano-memory the bundled one
goes on.

Only where the robot goes astray do actions tell more than the policy's own plans, which the World Expert reads anyway:
where experts and plain rollouts go, there is little to learn from them. In recordings of experts that were kicked,
actions are not always what led to the next image, and in corrections seldom; the latter are not here.

Hardware: 2 CPU cores with bf16. Time: 3 + 45 minutes, the training on one of them. Score: images follow opposite
actions in 179 of 180 pairs (docs/results/world.md).
"""

from pathlib import Path

from wla.cli.command import load_recipe
from wla.data.loader import DatasetConfig
from wla.training.world_training import WorldTraining


def config() -> WorldTraining:
    before: WorldTraining = load_recipe(Path(__file__).with_name("nano_world.py"))
    datasets = (
        DatasetConfig(path="datasets/nano_rollouts/short_astray", weight=0.3),
        DatasetConfig(path="datasets/nano_rollouts/memory_astray", weight=0.3),
        DatasetConfig(path="datasets/nano_memory", weight=0.2),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
    )
    return before.model_copy(
        update={"policy": "outputs/nano_memory_corrected/checkpoint", "datasets": datasets}
    ).override(["loop.optim.steps=4000", "actions_dropped=0.3", "sampling_steps=2"])
