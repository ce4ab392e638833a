"""A value model for all ten tasks: how near the goal an image is, learned from rollouts that succeed and fail.

Commands:
    wla collect --policy nano-memory --expert-share 0 --seed 6000 --episodes 60 --setting clean randomized --workers 2 \
        --out datasets/nano_rollouts/short
    wla collect --policy nano-memory --expert-share 0 --seed 6000 --episodes 60 --workers 2 \
        --tasks press_count cover_blocks battery_try rank_try --out datasets/nano_rollouts/memory
    wla collect --policy nano-memory --expert-share 0.5 --seed 6100 --episodes 30 --setting clean randomized \
        --workers 2 --out datasets/nano_rollouts/short_shared
    wla collect --policy nano-memory --expert-share 0.5 --seed 6100 --episodes 60 --workers 2 \
        --tasks press_count cover_blocks battery_try rank_try --out datasets/nano_rollouts/memory_shared
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
