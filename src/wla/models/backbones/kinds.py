"""The kinds of backbones; a configuration is identified by its fields."""

from __future__ import annotations

from wla.models.backbones.nano import NanoBackboneConfig
from wla.models.backbones.qwen3_vl import QwenBackboneConfig
from wla.models.backbones.smolvlm import SmolVLMBackboneConfig

BackboneConfig = NanoBackboneConfig | QwenBackboneConfig | SmolVLMBackboneConfig
