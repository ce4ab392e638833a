"""The frozen image codec: uint8 images <-> small latents or codes, diffusers' AutoencoderDC at any size."""

from __future__ import annotations

import torch
from diffusers import AutoencoderDC
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from wla.models.configs import ImageCodecConfig
from wla.models.quantizer import FiniteScalarQuantizer


class ImageCodec(nn.Module):
    """Image autoencoder: `encode` maps uint8 images (B, H, W, 3) to scaled latents (B, C, H/f, W/f), `decode` back.

    One whose latents are quantized also maps them to codes (B, H/f, W/f), and back.
    """

    def __init__(self, config: ImageCodecConfig) -> None:
        super().__init__()
        self.config = config
        self.vae = AutoencoderDC(**config.model_dump(exclude={"levels"}))
        self.quantizer = FiniteScalarQuantizer(config.levels) if config.levels else None

    def reconstruct(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Images after encoding and decoding, in [-1, 1]; codec training compares them with `to_unit(images)`."""
        return self.vae.decode(self._latents(self.to_unit(images), fit=self.training)).sample

    def to_unit(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
        """Pixels in [-1, 1], channels first."""
        return (images.permute(0, 3, 1, 2).float() / 127.5 - 1.0).to(self.vae.dtype)

    def encode(self, images: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B C h w"]:
        """Scaled latents of images, without gradient."""
        return self.encode_unit(self.to_unit(images))

    @torch.no_grad()
    def encode_unit(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """Scaled latents of pixels in [-1, 1]."""
        return self._latents(pixels) * self.config.scaling_factor

    @torch.no_grad()
    def codes(self, images: UInt8[Tensor, "B H W 3"]) -> Int64[Tensor, "B h w"]:
        """Codes of images. ValueError for a codec whose latents are continuous."""
        return self._require_quantizer().codes(self.vae.encode(self.to_unit(images)).latent)

    @torch.no_grad()
    def decode_codes(self, codes: Int64[Tensor, "B h w"]) -> UInt8[Tensor, "B H W 3"]:
        """Images of codes. ValueError for a codec whose latents are continuous."""
        return self.decode(self._require_quantizer().latents(codes) * self.config.scaling_factor)

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

    def _latents(self, pixels: Float[Tensor, "B 3 H W"], *, fit: bool = False) -> Float[Tensor, "B C h w"]:
        latents = self.vae.encode(pixels).latent
        if self.quantizer is None:
            return latents
        quantize = self.quantizer.fit if fit else self.quantizer
        return quantize(latents).to(latents.dtype)

    def _require_quantizer(self) -> FiniteScalarQuantizer:
        if self.quantizer is None:
            raise ValueError("the image codec has continuous latents and no codes; train one with levels")
        return self.quantizer

    def _decoded(self, latents: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        return self.vae.decode((latents / self.config.scaling_factor).to(self.vae.dtype)).sample
