"""The World Expert of `nano-memory`, wider, from nothing, and told what will be done: images that follow a candidate.

Commands, with COLLECT for `wla collect --no-perturb --workers 4`, ASTRAY for `--policy nano-memory --action-labels executed \
--expert-fraction 0.3 --random-fraction 0.4` and MEMORY for `--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT ASTRAY --episodes 120 --setting clean randomized --out datasets/nano_world/short_astray
    COLLECT ASTRAY --episodes 100 MEMORY --out datasets/nano_world/memory_astray
    COLLECT --episodes 150 --setting clean randomized --out datasets/nano_world/short
    COLLECT --episodes 200 MEMORY --out datasets/nano_world/memory
    wla train nano_memory_world --out outputs/nano_memory_world
With policy=outputs/nano_memory_corrected/checkpoint it is put beside another policy (nano_memory_corrected).

Only where the robot goes astray do actions tell more than the policy's own plans, which the World Expert reads anyway:
where experts and plain rollouts go, there is little to learn from them. In recordings of experts that were kicked,
actions are not always what led to the next image, and in corrections seldom; neither are here.

Hardware: an H200 and 16 CPU cores. Time: 2.5 minutes, in which the commands above came to 964, 338, 1464 and 648
episodes, and 5.5 minutes. On a CPU it was tried with 2 steps only. Score: docs/results/world.md.
"""

from wla.data.dataset_config import DatasetConfig
from wla.recipes import nano_world
from wla.training.objectives.world_model import WorldModelTrainConfig


def config() -> WorldModelTrainConfig:
    before = nano_world.config()
    datasets = (
        DatasetConfig(path="datasets/nano_world/short_astray", weight=0.25),
        DatasetConfig(path="datasets/nano_world/memory_astray", weight=0.25),
        DatasetConfig(path="datasets/nano_world/short", weight=0.2),
        DatasetConfig(path="datasets/nano_world/memory", weight=0.3),
    )
    return before.replace(
        policy="nano-memory",
        datasets=datasets,
        heads=8,
        flow_steps=1,
        action_condition_dropout=0.4,
        loop=before.loop.replace(batch_size=256, optim=before.loop.optim.replace(steps=1236)),
    )
