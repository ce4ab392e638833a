"""Folders as WLA-0 is published: a flat config.json with weights and statistics, the vision-language model, Sana."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny_qwen
from safetensors.torch import load_file, save_file
from torch import Tensor

OFFICIAL = Path(__file__).parent / "parity" / "official_tiny"
SECTIONS = json.loads((OFFICIAL / "config.json").read_text(encoding="utf-8"))
STATISTICS = {
    "libero": {
        "action": {"min": [-1.0] * 7, "max": [1.0] * 7, "q01": [-0.9] * 7},
        "observation.state": {"min": [-1.0] * 8, "max": [1.0] * 8},
    }
}


@dataclass(frozen=True)
class Release:
    """The folders of a release of the size of LIBERO's model."""

    checkpoint: Path
    vlm: Path
    sana: Path

    def folders(self) -> dict[str, Path]:
        return {"vlm": self.vlm, "sana": self.sana}

    def edit(self, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
        tree = json.loads(path.read_text(encoding="utf-8"))
        change(tree)
        path.write_text(json.dumps(tree), encoding="utf-8")

    def edit_weights(self, change: Callable[[dict[str, Tensor]], None]) -> None:
        weights = load_file(self.checkpoint / "model.safetensors")
        change(weights)
        save_file({name: value.contiguous() for name, value in weights.items()}, self.checkpoint / "model.safetensors")


def write_release(folder: Path) -> Release:
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    shutil.copy(OFFICIAL / "model.safetensors", checkpoint / "model.safetensors")
    tiny_qwen.write_json(checkpoint / "config.json", flat_config())
    tiny_qwen.write_json(checkpoint / "norm_stats.json", STATISTICS)
    vlm = tiny_qwen.write_vlm(folder / "vlm", new_rope(SECTIONS["qwen3_vl"]))
    sana = tiny_qwen.write_sana(folder / "sana", SECTIONS["sana"], SECTIONS["autoencoder_dc"])
    return Release(checkpoint, vlm, sana)


def flat_config() -> dict[str, Any]:
    """As the library writes a configuration: everything at the top, and much that says nothing about the model."""
    own = {name: value for name, value in SECTIONS["wla"].items() if name not in ("boi", "eoi")}
    return {
        **own,
        "architectures": ["MetaQueryModel"],
        "model_type": "metaquery",
        "torch_dtype": "float32",
        "training_mode": "image_action",
        "mllm_id": "a folder of their own",
        "transformers_version": "4.57.1",
        "_gradient_checkpointing": True,
    }


def new_rope(section: dict[str, Any]) -> dict[str, Any]:
    """The vision-language model's section as transformers 5 writes it."""
    text = dict(section["text_config"])
    text["rope_parameters"] = {**text.pop("rope_scaling"), "rope_theta": text.pop("rope_theta")}
    return {**section, "text_config": text}
