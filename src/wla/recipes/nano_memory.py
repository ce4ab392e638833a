"""`nano-memory`: one policy for the four memory tasks and the six short ones, on the gantry.

Commands, from scratch (datasets/nano_tabletop: see nano_tabletop):
    wla collect --tasks press_count --episodes 600 --num-envs 2 --out datasets/nano_memory/press_count
    wla collect --tasks cover_blocks --episodes 500 --num-envs 2 --out datasets/nano_memory/cover_blocks
    wla collect --tasks battery_try --episodes 500 --num-envs 2 --out datasets/nano_memory/battery_try
    wla collect --tasks rank_try --episodes 400 --num-envs 2 --out datasets/nano_memory/rank_try
    wla train nano_memory_base --out outputs/nano_memory_base
    wla train nano_memory --out outputs/nano_memory

Fine-tuned from `nano-tabletop`, with a prompt that contains the finished subtasks and the previous prediction.
nano_memory_corrected adds DAgger corrections, and has the command of the ablation without subtasks.

Hardware: 2 CPU cores with bf16. Time: 5 + 10 + 35 minutes.
Score: docs/results/memory.md.
"""

from wla.data import DatasetConfig, MemoryAugmentation, MemoryConfig
from wla.models import LossWeights
from wla.presets import NANO_POLICY_MATRICES, PROMPT, nano_tabletop_finetune
from wla.training import FromCheckpoint, GroundingConfig, LoopConfig, OptimConfig, PolicyTrainConfig


def config() -> PolicyTrainConfig:
    return PolicyTrainConfig(
        model=nano_tabletop_finetune().replace(loss_weights=LossWeights(language=0.3)),
        init=FromCheckpoint(
            policy="nano-tabletop",
            prompt=PROMPT.replace(memory=MemoryConfig(tokens=72)),
            backbone="outputs/nano_memory_base/checkpoint",
            grounding=GroundingConfig(samples=16, weight=0.1),
        ),
        datasets=(
            DatasetConfig(path="datasets/nano_memory", weight=0.8),
            DatasetConfig(path="datasets/nano_tabletop", weight=0.2),
        ),
        memory_augmentation=MemoryAugmentation(
            staleness=(3, 5), memory_dropout=0.03, item_dropout=0.03, item_duplication=0.03
        ),
        replan_steps=4,
        action_noise=0.5,
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2000,
                learning_rate=1e-3,
                final_learning_rate=2e-5,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_POLICY_MATRICES,
            ),
            batch_size=64,
            save_every=250,
        ),
    )
