"""Image codec of `nano-tabletop`: 96 x 96 pixels <-> 16 x 12 x 12 latents, frozen afterwards.

Command:  wla train nano_codec --out outputs/nano_codec
Needs:    datasets/nano_tabletop (see nano_tabletop)
"""

from wla.presets import CODEC
from wla.training import CodecTrainConfig, LoopConfig, OptimConfig


def config() -> CodecTrainConfig:
    return CodecTrainConfig(
        codec=CODEC,
        datasets=("datasets/nano_tabletop",),
        camera="front",
        loop=LoopConfig(
            optim=OptimConfig(steps=7000, learning_rate=2e-3, final_learning_rate=1e-4, warmup=100, weight_decay=0.0),
            batch_size=8,
        ),
    )
