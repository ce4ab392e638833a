"""World Expert of `nano-memory`, wider, from scratch, conditioned on action chunks.

Commands, with COLLECT for `wla collect --no-perturb --num-envs 4`, RANDOM for
`--policy nano-memory --action-labels executed --expert-fraction 0.3 --random-fraction 0.4` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT RANDOM --episodes 120 --setting clean randomized --out datasets/nano_world/short_astray
    COLLECT RANDOM --episodes 100 MEMORY --out datasets/nano_world/memory_astray
    COLLECT --episodes 150 --setting clean randomized --out datasets/nano_world/short
    COLLECT --episodes 200 MEMORY --out datasets/nano_world/memory
    wla train nano_memory_world --out outputs/nano_memory_world
With policy=outputs/nano_memory_corrected/checkpoint it is trained for that policy (nano_memory_corrected).

Only with random motion are actions more informative than the query states, which condition the World Expert anyway: in
episodes of experts and in rollouts of the policy alone they add little. In perturbed recordings of experts the recorded
actions do not always lead to the next image, and in DAgger corrections seldom; neither are used here.

Hardware: an H200 and 16 CPU cores. Time: 2.5 minutes, in which the commands above came to 964, 338, 1464 and 648
episodes, and 5.5 minutes. On a CPU, only 2 steps were tested. Score: docs/results/world.md.
"""

from wla.data import DatasetConfig
from wla.recipes import nano_world
from wla.training import WorldModelTrainConfig


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
