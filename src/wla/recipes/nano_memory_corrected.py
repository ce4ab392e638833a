"""`nano-memory` with corrections (DAgger): expert labels in the states that the policy visits.

Commands, after those of nano_memory, for each of the four tasks TASK:
    wla collect --policy outputs/nano_memory/checkpoint --tasks TASK --seed 5000 --episodes 200 --num-envs 2 \
        --out datasets/nano_memory_corrections/TASK
    wla train nano_memory_corrected --out outputs/nano_memory_corrected

Ablation without subtasks and memory:
    wla train nano_memory_corrected --out outputs/nano_memory_wordless \
        model.loss_weights.language=0 init.prompt.language=false init.prompt.memory=null

Training starts again from `nano-tabletop`, not from that policy: with a second warm-up to a high learning rate, the
policy forgets part of the first training (docs/results/memory.md).

Hardware: 2 CPU cores with bf16. Time: 7 + 100 minutes. Score: docs/results/memory.md.
"""

from wla.data import DatasetConfig
from wla.recipes import nano_memory
from wla.training import PolicyTrainConfig


def config() -> PolicyTrainConfig:
    before = nano_memory.config()
    datasets = (
        DatasetConfig(path="datasets/nano_memory", weight=0.4),
        DatasetConfig(path="datasets/nano_memory_corrections", weight=0.3),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.3),
    )
    loop = before.loop.replace(optim=before.loop.optim.replace(steps=5000))
    return before.replace(datasets=datasets, loop=loop)
