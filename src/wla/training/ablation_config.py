"""Configuration of ablations: a recipe, its variants, and the episodes that compare them."""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, model_validator

from wla.config import Config
from wla.envs.registry import DEFAULT_FAMILY
from wla.evaluation.configs import EvalConfig
from wla.training.objectives.configs import PolicyTrainConfig

MAX_NAME_LENGTH = 100


class Ablation(Config):
    """An ablation: a recipe, its variants and their evaluation. The first variant is the baseline."""

    recipe: PolicyTrainConfig
    """Recipe that the variants override."""
    variants: dict[str, tuple[str, ...]] = Field(min_length=2)
    """Name -> overrides of the recipe, as dotted.path=value."""
    seeds: tuple[NonNegativeInt, ...] = Field(default=(0,), min_length=1)
    """Training seeds; every variant is trained with each. From five on there are intervals over training seeds."""
    env: str = DEFAULT_FAMILY
    """Environment of the evaluation."""
    tasks: tuple[str, ...] = ()
    """Tasks of the evaluation or named groups of them; the environment's default ones when left out."""
    setting: tuple[str, ...] = ()
    """Settings of the evaluation; the environment's first one when left out."""
    embodiment: str | None = None
    """Robot of the evaluation; the environment's first one when left out."""
    protocol: str | None = None
    """Protocol of the evaluation; the environment's first one when left out."""
    episodes: int = Field(default=50, ge=1)
    """Episodes per task and setting, the same for all variants."""
    split: Literal["validation", "evaluation"] = "validation"
    """Seeds of the episodes: validation to choose among variants, evaluation for the final figures of a choice."""

    @model_validator(mode="after")
    def _check_variants(self) -> Self:
        """Reports a mistake now instead of after hours of training."""
        folders: dict[str, str] = {}
        for name, overrides in self.variants.items():
            key = unicodedata.normalize("NFKC", folder_name(name)).casefold()
            if not key.strip("_-") or len(name) > MAX_NAME_LENGTH:
                raise ValueError(
                    f"variant {name!r}: a name has letters or digits, {MAX_NAME_LENGTH} characters at most"
                )
            if key in folders:
                raise ValueError(f"variants {folders[key]!r} and {name!r} would share the folder {key}; rename one")
            folders[key] = name
            self.recipe.override(overrides)
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"training seeds {self.seeds} repeat one, which would count its run twice; remove it")
        return self

    def evaluation(self, policy: str, num_envs: int) -> EvalConfig:
        """Returns the evaluation of one trained variant."""
        names = ("env", "tasks", "setting", "embodiment", "protocol", "episodes", "split")
        shared = {name: getattr(self, name) for name in names}
        return EvalConfig(policy=policy, num_envs=num_envs, **shared)


def folder_name(variant: str) -> str:
    """Returns the name of a variant's folder: letters, digits, - and _ of its name."""
    return re.sub(r"[^\w-]+", "_", variant)
