"""`nano-memory` with drafts for its text: where the subtasks change, several tokens are read at once and verified.

Commands:
    wla collect --tasks memory --seed 2000 --episodes 100 --num-envs 2 --out datasets/drafts/memory
    wla collect --policy nano-memory --tasks memory --seed 5000 --episodes 40 --num-envs 2 \
        --out datasets/drafts/corrections
    wla train nano_memory_drafts --out outputs/nano_memory_drafts

and datasets/nano_tabletop (see nano_tabletop). Its answers stay what they are, so nothing has to be evaluated again.

Hardware: 2 CPU cores with bf16. Score: docs/results/speed.md.
"""

from wla.data import DatasetConfig
from wla.recipes import nano_memory
from wla.training import LoopConfig, MaskedDraftsTrainConfig, OptimConfig


def config() -> MaskedDraftsTrainConfig:
    return MaskedDraftsTrainConfig(
        policy="nano-memory",
        datasets=(
            DatasetConfig(path="datasets/drafts/memory", weight=0.5),
            DatasetConfig(path="datasets/drafts/corrections", weight=0.3),
            DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
        ),
        memory_augmentation=nano_memory.config().memory_augmentation,
        loop=LoopConfig(
            optim=OptimConfig(steps=1000, learning_rate=2e-3, final_learning_rate=1e-4, warmup=50, weight_decay=0.0),
            batch_size=64,
            save_every=200,
        ),
    )
