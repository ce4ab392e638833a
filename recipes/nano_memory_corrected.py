"""`nano-memory` after corrections: the policy acts, the expert says what it would do there, and the policy learns that.

Commands, after those of recipes/nano_memory.py, for each of the four tasks TASK:
    wla collect --policy outputs/nano_memory/checkpoint --tasks TASK --seed 5000 --episodes 200 --workers 2 \
        --out datasets/nano_memory_corrections/first/TASK
    wla train recipes/nano_memory_corrected.py --out outputs/nano_memory_first_round loop.optim.steps=1200

and a second round, in which the policy makes other mistakes:
    wla collect --policy outputs/nano_memory_first_round/checkpoint --tasks TASK --seed 5200 --episodes 150 \
        --workers 2 --out datasets/nano_memory_corrections/second/TASK
    wla train recipes/nano_memory_corrected.py start.policy=outputs/nano_memory_first_round/checkpoint

Hardware: 2 CPU cores with bf16. Time: 2 x (6 + 20) minutes. Score: docs/results/memory.md.
"""

from wla.data.loader import DatasetConfig
from wla.data.memory import MemoryErrors
from wla.models.losses import LossWeights
from wla.training.nano import NANO_POLICY_MATRICES, nano_tabletop_going_on
from wla.training.optim import OptimConfig
from wla.training.policy_training import PolicyTraining
from wla.training.starts import CheckpointStart, GroundingConfig
from wla.training.trainer import LoopConfig


def config() -> PolicyTraining:
    return PolicyTraining(
        model=nano_tabletop_going_on(),
        start=CheckpointStart(
            policy="outputs/nano_memory/checkpoint",
            base="outputs/nano_memory_base/checkpoint",
            grounding=GroundingConfig(samples=16, weight=0.1),
        ),
        datasets=(
            DatasetConfig(path="datasets/nano_memory_corrections", weight=0.5),
            DatasetConfig(path="datasets/nano_memory", weight=0.3),
            DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
        ),
        memory_errors=MemoryErrors(lag=(3, 5), forgotten=0.03, dropped=0.03, repeated=0.03),
        weights=LossWeights(action=1.0, world=0.1, language=0.3),
        execute=4,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=1100,
                learning_rate=7e-4,
                final_learning_rate=1e-5,
                warmup=50,
                weight_decay=0.01,
                muon=NANO_POLICY_MATRICES,
            ),
            batch_size=64,
            save_every=250,
        ),
    )
