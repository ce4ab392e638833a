"""A value model for all ten tasks: how near the goal an image is, learned from rollouts that succeed and fail.

Commands, with COLLECT for `wla collect --policy nano-memory --record done --no-kicks --workers 2` and MEMORY for
`--tasks press_count cover_blocks battery_try rank_try`:
    COLLECT --expert-share 0 --seed 6000 --episodes 60 --setting clean randomized --out datasets/nano_rollouts/short
    COLLECT --expert-share 0 --seed 6000 --episodes 60 MEMORY --out datasets/nano_rollouts/memory
    COLLECT --expert-share 0.5 --seed 6100 --episodes 30 --setting clean randomized \
        --out datasets/nano_rollouts/short_shared
    COLLECT --expert-share 0.5 --seed 6100 --episodes 60 MEMORY --out datasets/nano_rollouts/memory_shared
    wla train recipes/nano_value.py --out outputs/nano_value

Hardware: 2 CPU cores with bf16.
"""

from wla.training.nano import NANO_MATRICES
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig
from wla.training.value_training import ValueTraining


def config() -> ValueTraining:
    return ValueTraining(
        policy="nano-memory",
        datasets=("datasets/nano_rollouts",),
        loop=LoopConfig(
            optim=OptimConfig(
                steps=1500,
                learning_rate=5e-4,
                final_learning_rate=2e-5,
                warmup=50,
                weight_decay=0.01,
                muon=(NANO_MATRICES[0].replace("text", r"backbone\.text"),),
            ),
            batch_size=64,
        ),
    )
