"""Configuration of episodes: data collection, memory replay, interventions, candidates.

Apart from the code that they configure, because the command line shows them and must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wla.config import Config
from wla.envs.registry import DEFAULT_FAMILY

ActionLabels = Literal["expert", "executed"]
MemoryInterventionKind = Literal["clear", "delete", "insert"]


class BestOfNConfig(Config):
    """How a policy weighs candidates before it acts (see `wla.policy.best_of_n`): by a value model or a goal image."""

    value: str | None
    goal: str | None
    num_candidates: int
    imagination_horizon: int
    memory_reset: bool
    selection_margin: float
    action_conditioning: bool
    time_budget_ms: float | None


class CollectConfig(Config):
    """What to collect."""

    env: str = DEFAULT_FAMILY
    """Environment: name of a family, mapping file of a gymnasium environment (see wla init), or gymnasium id."""
    tasks: tuple[str, ...] = ()
    """Tasks or named groups of them; none means the environment's default ones."""
    setting: tuple[str, ...] = ()
    """One or more of the environment's settings; none means its first one."""
    embodiment: str | None = None
    """Robot; None means the environment's first one."""
    episodes: int = Field(default=100, ge=1)
    """Episodes tried per task and setting; successes are kept."""
    policy: str | None = None
    """A checkpoint that acts in turns with the expert, or alone: random, zero; failures are kept too."""
    action_labels: ActionLabels | None = None
    """With a policy: the words and actions that the expert would have answered with, to imitate, or those of whoever
    acted, to learn what follows from them. None means the expert's, or the executed ones where a policy acts alone."""
    expert_fraction: float = Field(default=0.5, ge=0, le=1)
    """With a policy: share of the turns that are the expert's. 0 leaves the policy to itself."""
    random_fraction: float = Field(default=0.0, ge=0, le=1)
    """With a policy: share of the turns that are neither's, the robot moves at random."""
    seed: int = 0
    """First seed."""
    split: Literal["training", "validation", "evaluation"] = "training"
    """Which seeds are allowed: training (0-9999), or those to measure with, which training refuses: validation
    (10000-19999) and evaluation (100000 and up)."""
    perturb: bool = True
    """Disturb the motion now and then, so that the expert shows how to recover. A policy alone is never disturbed."""
    actions: bool = True
    """Record actions; without them the dataset is video only."""

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.episodes)


class RecordMemoryConfig(Config):
    """On what to act."""

    policy: str
    """A checkpoint that says subtasks: folder, bundled name or hub id."""
    dataset: Path
    """A LeRobot dataset of the same robot."""
    out: Path
    """File for what it remembered (.parquet); a recipe takes it as a dataset's `recalled`."""
    device: str | None = None
    """Where the policy computes (cuda, cpu); None leaves it to the policy."""
