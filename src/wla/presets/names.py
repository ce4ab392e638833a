"""Names of the published models, known without importing them."""

from __future__ import annotations

from typing import Literal, get_args

Size = Literal["nano", "small", "wla0"]
"""Sizes of a policy for a dataset of somebody else."""
PresetName = Literal["wla0_libero", "wla0_robotwin", "wla0_robotwin_videos", "wla0_rmbench"]
PRESETS: tuple[str, ...] = get_args(PresetName)
