"""The toy language model by reinforcement learning, after LightningRL: texts that are right, in few forward passes.

Command:  wla train toy_language_rl --out outputs/toy_language_rl
Needs:    outputs/toy_language (see toy_language)
Score:    docs/results/rl.md
"""

from pathlib import Path

from wla.training import LoopConfig, OptimConfig, ToyLanguageRLConfig


def config() -> ToyLanguageRLConfig:
    return ToyLanguageRLConfig(
        start=Path("outputs/toy_language"),
        groups=16,
        group_size=8,
        anchor_weight=0.3,
        loop=LoopConfig(
            optim=OptimConfig(steps=60, learning_rate=4e-4, final_learning_rate=1e-4, warmup=5, weight_decay=0.0),
            batch_size=64,
            log_every=1,
            save_every=20,
            validation_every=20,
        ),
    )
