"""Image codec with codes for WorldVLA: 96 x 96 pixels <-> 6 x 6 codes, frozen afterwards.

Command:  wla train nano_vq_codec --out outputs/nano_vq_codec
Needs:    datasets/nano_tabletop (see nano_tabletop)

Time and reconstruction: not measured yet.
"""

from wla.presets import VQ_CODEC
from wla.recipes import nano_codec
from wla.training import CodecTrainConfig


def config() -> CodecTrainConfig:
    return nano_codec.config().replace(codec=VQ_CODEC)
