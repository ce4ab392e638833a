"""The frozen image codec: uint8 images <-> small latents, diffusers' AutoencoderDC at any size."""

from __future__ import annotations

import torch
from diffusers import AutoencoderDC
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from wla.models.configs import ImageCodecConfig


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
