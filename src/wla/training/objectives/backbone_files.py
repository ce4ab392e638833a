"""The files of a pretrained backbone's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerFast

from wla.config import Config
from wla.data.normalize import Statistics
from wla.data.prompts.tokenizer import load_tokenizer, save_tokenizer
from wla.files import atomic_dir
from wla.weights import save_weights, strip_prefix

CONFIG, WEIGHTS, TOKENIZER, STATISTICS = "base.json", "base.safetensors", "tokenizer.json", "statistics.json"
GROUNDING = "grounding.safetensors"
"""The heads of the grounding objective, for trainings that continue it."""


def load_tokens_and_ranges(folder: Path) -> tuple[PreTrainedTokenizerFast, Statistics]:
    """The tokenizer and the statistics of a pretrained backbone."""
    return load_tokenizer(folder / TOKENIZER), Statistics.load(folder / STATISTICS)


def save_backbone(
    folder: Path,
    config: Config,
    statistics: Statistics,
    tokenizer: PreTrainedTokenizerFast,
    weights: Mapping[str, Tensor],
) -> None:
    """config: its recipe. weights: with the prefixes `backbone.` and `grounding.`."""
    with atomic_dir(folder, replaces=(CONFIG, WEIGHTS, TOKENIZER, STATISTICS, GROUNDING)) as fresh:
        config.save(fresh / CONFIG)
        statistics.save(fresh / STATISTICS)
        save_tokenizer(tokenizer, fresh / TOKENIZER)
        save_weights(strip_prefix("backbone.", weights), fresh / WEIGHTS)
        save_weights(strip_prefix("grounding.", weights), fresh / GROUNDING)
