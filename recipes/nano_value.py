"""A value model for all ten tasks: how near the goal an image is, learned from rollouts that succeed and fail.

Commands, with COLLECT for `wla collect --record done --no-kicks --workers 2` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --policy nano-memory --expert-share 0 --seed 6000 --episodes 160 --setting clean randomized \
        --out datasets/nano_rollouts/short
    COLLECT --policy nano-memory --expert-share 0 --seed 6000 --episodes 60 MEMORY --out datasets/nano_rollouts/memory
    COLLECT --policy nano-memory --expert-share 0.5 --seed 6100 --episodes 30 --setting clean randomized \
        --out datasets/nano_rollouts/short_shared
    COLLECT --policy nano-memory --expert-share 0.5 --seed 6100 --episodes 60 MEMORY \
        --out datasets/nano_rollouts/memory_shared
    COLLECT --policy outputs/nano_memory_wordless/checkpoint --expert-share 0 --seed 6000 --episodes 80 MEMORY \
        --out datasets/nano_rollouts/memory_wordless
    COLLECT --policy nano-memory --expert-share 0.2 --astray-share 0.3 --seed 8000 --episodes 300 \
        --out datasets/nano_rollouts/short_astray_more
    wla train recipes/nano_value.py --out outputs/nano_value
and the rollouts of recipes/nano_memory_world.py. The policy without words (recipes/nano_memory_corrected.py)
fails in most episodes of the memory tasks.

Hardware: 2 CPU cores with bf16. Time: 25 + 10 minutes. Score: not good enough yet (docs/results/world.md).
"""

from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig
from wla.training.value_training import ValueTraining


def config() -> ValueTraining:
    return ValueTraining(
        policy="nano-memory",
        datasets=("datasets/nano_rollouts",),
        discount=0.95,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=800,
                learning_rate=5e-4,
                final_learning_rate=2e-5,
                warmup=50,
                weight_decay=0.05,
            ),
            batch_size=64,
        ),
    )
