"""A toy language model that writes sums with their steps in blocks of masked tokens; `toy_language_rl` starts from it.

Command:  wla train toy_language --out outputs/toy_language
Needs:    nothing: prompts and texts are generated
"""

from wla.presets import NANO_MATRICES
from wla.training import LoopConfig, OptimConfig, ToyLanguageTrainConfig


def config() -> ToyLanguageTrainConfig:
    return ToyLanguageTrainConfig(
        loop=LoopConfig(
            optim=OptimConfig(
                steps=2000,
                learning_rate=2e-3,
                final_learning_rate=2e-4,
                warmup=100,
                weight_decay=0.01,
                muon=NANO_MATRICES,
            ),
            batch_size=64,
            validation_every=250,
            save_every=250,
        ),
    )
