"""`nano-memory` with corrections: the policy acts, the expert says what it would do there, and the policy learns that.

Commands, after those of nano_memory, for each of the four tasks TASK:
    wla collect --policy outputs/nano_memory/checkpoint --tasks TASK --seed 5000 --episodes 200 --workers 2 \
        --out datasets/nano_memory_corrections/TASK
    wla train nano_memory_corrected --out outputs/nano_memory_corrected

The same without words, to see what they are for:
    wla train nano_memory_corrected --out outputs/nano_memory_wordless \
        model.loss_weights.language=0 init.prompt.language=false init.prompt.memory=null

It does not go on from that policy but from the base: a second start at a high learning rate costs what the first one
learned (docs/results/memory.md).

Hardware: 2 CPU cores with bf16. Time: 7 + 100 minutes. Score: docs/results/memory.md.
"""

from wla.data.loader import DatasetConfig
from wla.recipes import nano_memory
from wla.training.objectives.policy import PolicyTrainConfig


def config() -> PolicyTrainConfig:
    before = nano_memory.config()
    datasets = (
        DatasetConfig(path="datasets/nano_memory", weight=0.4),
        DatasetConfig(path="datasets/nano_memory_corrections", weight=0.3),
        DatasetConfig(path="datasets/nano_tabletop", weight=0.3),
    )
    return before.replace(datasets=datasets).override(["loop.optim.steps=5000"])
