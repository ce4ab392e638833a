"""Configuration of episodes: data collection, memory replay, interventions, candidates.

Apart from the code that they configure, because the command line shows them and must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wla.config import Config

MemoryInterventionKind = Literal["clear", "delete", "insert"]


class BestOfNConfig(Config):
    """How a policy chooses among candidates (see `wla.policy.best_of_n`): by a value model or a goal image."""

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

    env: str = "tabletop"
    """Environment."""
    tasks: tuple[str, ...] = ()
    """Tasks; none means all of the environment."""
    setting: tuple[str, ...] = Field(default=("clean",), min_length=1)
    """One or more of the environment's settings."""
    embodiment: str = "gantry"
    """Robot."""
    episodes: int = Field(default=100, ge=1)
    """Episodes tried per task and setting; successes are kept."""
    policy: str | None = None
    """A checkpoint that acts in turns with the expert; failures are kept too."""
    action_labels: Literal["expert", "executed"] = "expert"
    """With a policy: subtasks and actions of the expert at each step, to imitate, or the executed ones, to learn what
    follows from them."""
    expert_fraction: float = Field(default=0.5, ge=0, le=1)
    """With a policy: fraction of the turns that are the expert's. 0 lets the policy act alone."""
    random_fraction: float = Field(default=0.0, ge=0, le=1)
    """With a policy: fraction of the turns in which the robot moves at random."""
    seed: int = 0
    """First seed."""
    split: Literal["training", "validation", "evaluation"] = "training"
    """Allowed seeds: training (0-9999), or those to measure with, which training refuses: validation
    (10000-19999) and evaluation (100000 and up)."""
    perturb: bool = True
    """Disturb the motion now and then, so that the expert shows how to recover."""
    actions: bool = True
    """Record actions; without them the dataset is video only."""
    num_envs: int = Field(default=1, ge=1)
    """Environments that run at once, each in a process of its own, around one policy; 1 runs in this process."""
    env_timeout_s: float = Field(default=120.0, gt=0)
    """With several environments: seconds for a step or reset, after which it is killed and its episode an error."""

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.episodes)


class RecordMemoryConfig(Config):
    """The policy and the recordings on which it acts."""

    policy: str
    """A checkpoint that predicts subtasks: folder, bundled name or hub id."""
    dataset: Path
    """A LeRobot dataset of the same robot."""
    out: Path
    """File for its memory (.parquet); a recipe takes it as a dataset's `memory_replay`."""
    device: str | None = None
    """Device of the policy (cuda, cpu); None leaves it to the policy."""
