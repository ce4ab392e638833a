"""The frozen image codec: uint8 images <-> small latents, diffusers' AutoencoderDC at any size."""

from __future__ import annotations

import torch
from diffusers import AutoencoderDC
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.config import Config


class ImageCodecConfig(Config):
    """Constructor arguments of AutoencoderDC. `layers` starts with 0 when the first convolution downsamples."""

    latent_channels: int
    channels: tuple[int, ...]
    layers: tuple[int, ...]
    attention_from: int | None = None
    """Index of the first level that uses linear attention blocks instead of residual convolutions."""
    scaling_factor: float = 1.0
    """Latents times this have about unit variance."""


class ImageCodec(nn.Module):
    """encode: uint8 (B, H, W, 3) -> scaled latents (B, C, H/f, W/f). decode: the way back."""

    def __init__(self, config: ImageCodecConfig) -> None:
        super().__init__()
        self.config = config
        levels = len(config.channels)
        attention = config.attention_from if config.attention_from is not None else levels
        kinds = ["ResBlock" if level < attention else "EfficientViTBlock" for level in range(levels)]
        scales: list[tuple[int, ...]] = [() if level < attention else (5,) for level in range(levels)]
        self.vae = AutoencoderDC(
            latent_channels=config.latent_channels,
            encoder_block_types=kinds,
            decoder_block_types=kinds,
            encoder_block_out_channels=config.channels,
            decoder_block_out_channels=config.channels,
            encoder_layers_per_block=config.layers,
            decoder_layers_per_block=config.layers,
            encoder_qkv_multiscales=scales,
            decoder_qkv_multiscales=scales,
            scaling_factor=config.scaling_factor,
        )

    def reconstruct(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Through the latents and back, in [-1, 1]: what codec training compares with `to_unit(images)`."""
        return self.vae.decode(self.vae.encode(self.to_unit(images)).latent).sample

    def to_unit(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Pixels in [-1, 1], channels first."""
        return images.permute(0, 3, 1, 2).to(self.vae.dtype) / 127.5 - 1.0

    @torch.no_grad()
    def encode(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"]:
        return self.vae.encode(self.to_unit(images)).latent * self.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "B C h w"]) -> UInt8[Tensor, "B H W 3"]:
        pixels = self.vae.decode((latents / self.config.scaling_factor).to(self.vae.dtype)).sample
        return ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
