"""A value model for all ten tasks: how near the goal an image is, learned from rollouts that succeed and fail.

Commands, with COLLECT for `wla collect --policy nano-memory --record done --no-kicks --workers 2` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --expert-share 0 --forget-share 0.1 --seed 6000 --episodes 120 --setting clean randomized \
        --out datasets/nano_rollouts/short
    COLLECT --expert-share 0 --forget-share 0.03 --seed 6000 --episodes 120 MEMORY --out datasets/nano_rollouts/memory
    COLLECT --expert-share 0.3 --astray-share 0.3 --forget-share 0.1 --seed 7000 --episodes 80 \
        --setting clean randomized --out datasets/nano_rollouts/short_shared
    COLLECT --expert-share 0.3 --astray-share 0.3 --forget-share 0.03 --seed 7000 --episodes 60 MEMORY \
        --out datasets/nano_rollouts/memory_shared
    wla train recipes/nano_value.py --out outputs/nano_value

It reads what is being done, too: most failures are a policy that goes on saying what it takes to be almost done, and
no frame shows that. It is made to forget now and then, so that there is something to learn of candidates that do.

Hardware: 2 CPU cores with bf16. Time: 20 + 10 minutes. Score: docs/results/world.md.
"""

from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig
from wla.training.value_training import ValueTraining


def config() -> ValueTraining:
    return ValueTraining(
        policy="nano-memory",
        datasets=("datasets/nano_rollouts",),
        discount=0.99,
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
