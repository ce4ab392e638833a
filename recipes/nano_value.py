"""A value model for the short tasks: how near the goal an image is, learned from rollouts that succeed and fail.

Commands:
    for policy in nano-tabletop outputs/nano_tabletop_early/checkpoint; do ... done: see docs/results/world.md
    wla collect --policy nano-tabletop --expert-share 0 --setting clean randomized --episodes 100 --workers 2 \
        --out datasets/nano_rollouts/policy
    wla collect --policy nano-tabletop --expert-share 0.5 --seed 100 --episodes 50 --workers 2 \
        --out datasets/nano_rollouts/shared
    wla train recipes/nano_value.py --out outputs/nano_value
"""

from wla.training.nano import NANO_MATRICES
from wla.training.optim import OptimConfig
from wla.training.trainer import LoopConfig
from wla.training.value_training import ValueTraining


def config() -> ValueTraining:
    return ValueTraining(
        policy="nano-tabletop",
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
