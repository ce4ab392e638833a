"""Image codec with codes for WorldVLA: 96 x 96 pixels <-> 6 x 6 codes, frozen afterwards.

Command:  wla train nano_vq_codec --out outputs/nano_vq_codec
Needs:    datasets/nano_tabletop (see nano_tabletop)

Reconstruction: 25.2 dB on training images (docs/results/paradigms.md); time alone on a core: not measured.
"""

from wla.presets import VQ_CODEC
from wla.recipes import nano_codec
from wla.training import CodecTrainConfig


def config() -> CodecTrainConfig:
    base = nano_codec.config()
    optim = base.loop.optim.replace(learning_rate=5e-4)  # at 2e-3 the encoder outruns the mean of its own latents
    return base.replace(codec=VQ_CODEC, loop=base.loop.replace(optim=optim))
