"""Action Expert of `nano-memory`, fine-tuned to act in one step; subtasks and images stay.

Commands, for each of the four memory tasks TASK:
    wla collect --policy nano-memory --tasks TASK --seed 5000 --episodes 150 --num-envs 2 \
        --out datasets/one_step/corrections/TASK
    wla collect --tasks TASK --episodes 150 --num-envs 2 --out datasets/one_step/memory/TASK
and for the short ones:
    wla collect --setting clean randomized --episodes 100 --num-envs 2 --out datasets/one_step/tabletop
    wla collect --policy nano-memory --seed 5000 --episodes 60 --num-envs 2 --out datasets/one_step/tabletop_corrections
    wla train nano_memory_one_step --out outputs/nano_memory_one_step

The policy of the start answers in ten steps, and its answers are what one step learns: neither experts nor successful
episodes are needed, only states that the policy gets into.

Hardware: 2 CPU cores with bf16. Time: 25 + 43 minutes, beside other work.
Score: docs/results/few_steps.md (memory tasks lose, so the bundled policy keeps its ten steps).
"""

from wla.data import DatasetConfig
from wla.models import OneStepConfig
from wla.recipes import nano_memory
from wla.training import ActionExpertTrainConfig, LoopConfig, OptimConfig


def config() -> ActionExpertTrainConfig:
    return ActionExpertTrainConfig(
        policy="nano-memory",
        datasets=(
            DatasetConfig(path="datasets/one_step/corrections", weight=0.45),
            DatasetConfig(path="datasets/one_step/memory", weight=0.2),
            DatasetConfig(path="datasets/one_step/tabletop", weight=0.15),
            DatasetConfig(path="datasets/one_step/tabletop_corrections", weight=0.2),
        ),
        memory_augmentation=nano_memory.config().memory_augmentation,
        distill=True,
        one_step=OneStepConfig(target_steps=6, noise_samples_per_chunk=4, weight=2.0),
        flow_steps=1,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=3000,
                learning_rate=1e-3,
                final_learning_rate=1e-5,
                warmup=50,
                weight_decay=0.01,
                muon=(r"action_expert\.blocks\.",),
                muon_learning_rate=0.004,
            ),
            batch_size=64,
            save_every=200,
        ),
    )
