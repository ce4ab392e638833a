"""The frozen image codec: uint8 images <-> small latents, diffusers' AutoencoderDC at any size."""

from __future__ import annotations

from typing import Literal

import torch
from diffusers import AutoencoderDC
from jaxtyping import Float, UInt8
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from wla.config import Config
from wla.models.sizes import Layers, Width

Block = Literal["ResBlock", "EfficientViTBlock"]


class ImageCodecConfig(Config):
    """Constructor arguments of AutoencoderDC, under its names and with its defaults.

    scaling_factor: factor that gives latents about unit variance.
    layers_per_block: a first entry of 0 makes the first convolution downsample.
    """

    in_channels: Width = 3
    latent_channels: Width = 32
    attention_head_dim: Width = 32
    encoder_block_types: Block | tuple[Block, ...] = "ResBlock"
    decoder_block_types: Block | tuple[Block, ...] = "ResBlock"
    encoder_block_out_channels: tuple[Width, ...] = (128, 256, 512, 512, 1024, 1024)
    decoder_block_out_channels: tuple[Width, ...] = (128, 256, 512, 512, 1024, 1024)
    encoder_layers_per_block: tuple[Layers, ...] = (2, 2, 2, 3, 3, 3)
    decoder_layers_per_block: tuple[Layers, ...] = (3, 3, 3, 3, 3, 3)
    encoder_qkv_multiscales: tuple[tuple[PositiveInt, ...], ...] = ((), (), (), (5,), (5,), (5,))
    decoder_qkv_multiscales: tuple[tuple[PositiveInt, ...], ...] = ((), (), (), (5,), (5,), (5,))
    upsample_block_type: str = "pixel_shuffle"
    downsample_block_type: str = "pixel_unshuffle"
    decoder_norm_types: str | tuple[str, ...] = "rms_norm"
    decoder_act_fns: str | tuple[str, ...] = "silu"
    encoder_out_shortcut: bool = True
    decoder_in_shortcut: bool = True
    decoder_conv_act_fn: str = "relu"
    scaling_factor: float = Field(default=1.0, gt=0)

    @property
    def downsampling(self) -> int:
        """Pixels per latent along each side."""
        return int(2 ** (len(self.encoder_block_out_channels) - 1))


def residual_codec(*, latent_channels: int, channels: tuple[int, ...], layers: tuple[int, ...]) -> ImageCodecConfig:
    """A codec of residual convolutions only, encoder and decoder of the same sizes: cheap on a CPU.

    Args:
        latent_channels: channels of a latent.
        channels: channels per resolution; each one after the first halves the image.
        layers: residual blocks per resolution.
    """
    scales: tuple[tuple[int, ...], ...] = ((),) * len(channels)
    return ImageCodecConfig(
        latent_channels=latent_channels,
        encoder_block_out_channels=channels,
        decoder_block_out_channels=channels,
        encoder_layers_per_block=layers,
        decoder_layers_per_block=layers,
        encoder_qkv_multiscales=scales,
        decoder_qkv_multiscales=scales,
    )


class ImageCodec(nn.Module):
    """Image autoencoder: `encode` maps uint8 images (B, H, W, 3) to scaled latents (B, C, H/f, W/f), `decode` back."""

    def __init__(self, config: ImageCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = AutoencoderDC(**config.model_dump())

    def reconstruct(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Images after encoding and decoding, in [-1, 1]; codec training compares them with `to_unit(images)`."""
        return self.vae.decode(self.vae.encode(self.to_unit(images)).latent).sample

    def to_unit(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Pixels in [-1, 1], channels first."""
        return (images.permute(0, 3, 1, 2).float() / 127.5 - 1.0).to(self.vae.dtype)

    def encode(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"]:
        """Scaled latents of images, without gradient."""
        return self.encode_unit(self.to_unit(images))

    @torch.no_grad()
    def encode_unit(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Scaled latents of pixels in [-1, 1]."""
        return self.vae.encode(pixels).latent * self.config.scaling_factor

    @torch.no_grad()
    def features(self, images: UInt8[Tensor, "B H W 3"]) -> list[Float[Tensor, "B C h w"]]:
        """Feature maps of the encoder's stages, from fine to coarse (for a perceptual metric)."""
        x, maps = self.vae.encoder.conv_in(self.to_unit(images)), []
        for block in self.vae.encoder.down_blocks:
            x = block(x)
            maps.append(x)
        return maps

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B C h w"]) -> UInt8[Tensor, "B H W 3"]:
        """Images of scaled latents, without gradient."""
        pixels = self._decoded(latents)
        return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)

    def pixel_error(self, images: UInt8[Tensor, "B H W 3"], latents: Float[Tensor, "B C h w"]) -> Float[Tensor, ""]:
        """Mean squared error of the decoded latents against images, both in [-1, 1]; differentiable in the latents."""
        return (self._decoded(latents).float() - self.to_unit(images).float()).square().mean()

    def _decoded(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        return self.vae.decode((latents / self.config.scaling_factor).to(self.vae.dtype)).sample
