"""Configuration of evaluations.

Apart from the code that they configure, because the command line shows them and must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from wla.config import Config
from wla.envs.seeds import seed_range
from wla.rollout.configs import BestOfNConfig, MemoryInterventionKind


class EvalConfig(Config):
    """What to evaluate."""

    policy: str
    """A checkpoint (folder, bundled name or hub id), or one of: expert, random, zero."""
    env: str = "tabletop"
    """Environment."""
    tasks: tuple[str, ...] = ()
    """Tasks; none means all of the environment."""
    setting: tuple[str, ...] = Field(default=("clean",), min_length=1)
    """One or more of the environment's settings."""
    embodiment: str = "gantry"
    """Robot."""
    episodes: int = Field(default=50, ge=1)
    """Episodes per task and setting."""
    seed: int | None = None
    """First seed; None is the start of the split's range."""
    split: Literal["evaluation", "validation"] = "evaluation"
    """Which seeds are allowed: evaluation (100000 and up) or validation (10000-19999)."""
    replan_steps: int | None = Field(default=None, ge=1)
    """Actions of each chunk that are run before the policy acts again; None leaves it to the policy."""
    imagine: bool = False
    """Ask the policy for its imagined subgoals in the episodes that are recorded."""
    memory_intervention: MemoryInterventionKind | None = None
    """Tamper with the policy's memory: emptied before every call, or one item deleted or invented once."""
    num_candidates: int = Field(default=1, ge=1)
    """Chunks to choose from at each call by what they are imagined to lead to; several need --value or --goal."""
    imagination_horizon: int = Field(default=1, ge=1)
    """How many chunks ahead candidates are imagined; with --memory-reset-candidates more than 1 did worse in memory tasks."""
    memory_reset_candidates: bool = False
    """Let half of the candidates forget what was done and said, so that they try again what the policy takes to be
    done."""
    selection_margin: float = Field(default=0.0, ge=0)
    """By how much a score must exceed that of what the policy alone would do for another candidate to be run."""
    action_conditioning: bool = True
    """Condition imagined outcomes on each candidate's actions, where the World Expert reads actions."""
    value: str | None = None
    """The value model that scores what is imagined: a folder, bundled name or hub id."""
    goal: str | None = None
    """Image file of the goal, as the primary camera would see it: what is imagined is scored by agreement with it."""
    time_budget_ms: float | None = Field(default=None, gt=0)
    """Milliseconds for a call with several candidates; when they are over, the best so far is run."""
    device: str | None = None
    """Where the policy computes (cuda, cpu); None leaves it to the policy."""
    max_videos: int = Field(default=6, ge=0)
    """Recorded episodes per task and setting: up to a third successes, the rest failures and errors."""
    num_envs: int = Field(default=1, ge=1)
    """Environments that run at once, each in a process of its own, around one policy; 1 runs in this process."""
    env_timeout_s: float = Field(default=120.0, gt=0)
    """With several environments: seconds for a step or reset, after which it is killed and its episode an error."""

    @property
    def best_of_n(self) -> BestOfNConfig | None:
        """ValueError for several candidates and nothing, or two things, to score them; for halves of an odd number."""
        if self.memory_reset_candidates and self.num_candidates % 2:
            raise ValueError(
                f"--memory-reset-candidates: half of the candidates forget, so --num-candidates is even, not {self.num_candidates}"
            )
        if self.num_candidates == 1:
            return None
        if (self.value is None) == (self.goal is None):
            raise ValueError(
                f"{self.num_candidates} candidates need one thing that scores them: --value FOLDER or --goal IMAGE"
            )
        return BestOfNConfig(
            value=self.value,
            goal=self.goal,
            num_candidates=self.num_candidates,
            imagination_horizon=self.imagination_horizon,
            memory_reset=self.memory_reset_candidates,
            selection_margin=self.selection_margin,
            action_conditioning=self.action_conditioning,
            time_budget_ms=self.time_budget_ms,
        )

    @property
    def seeds(self) -> range:
        start = seed_range(self.split).start if self.seed is None else self.seed
        return range(start, start + self.episodes)


class OpenLoopConfig(Config):
    """What to compare."""

    policy: str
    """A checkpoint: folder, bundled name or hub id."""
    dataset: Path
    """A LeRobot dataset of the same robot that was not trained on."""
    frames: int = Field(default=1000, ge=1)
    """How many frames to look at, evenly spread over the dataset."""
    imagine: bool = True
    """Also imagine the images."""
    device: str | None = None
    """Where the policy computes (cuda, cpu); None leaves it to the policy."""


class WorldEvalConfig(Config):
    """What to imagine."""

    policy: str
    """A checkpoint: folder, bundled name or hub id."""
    dataset: Path
    """A LeRobot dataset of the same robot that was not trained on."""
    frames: int = Field(default=200, ge=1)
    """How many frames to imagine the future of, evenly spread over the dataset."""
    samples: int = Field(default=4, ge=1)
    """Images imagined of each, from different noise."""
    flow_steps: tuple[int, ...] = ()
    """Numbers of sampling steps to compare; none means the policy's own. The page shows the first."""
    num_report_frames: int = Field(default=24, ge=1)
    """Frames on the page."""
    device: str | None = None
    """Where the policy computes (cuda, cpu); None leaves it to the policy."""


class ValueEvalConfig(Config):
    """What to score."""

    value: str
    """A value model: folder, bundled name or hub id."""
    datasets: tuple[str, ...]
    """Rollouts that it was not trained on: folders of datasets whose episodes say whether they succeeded."""
    frames: int = Field(default=2000, ge=1)
    """How many frames of each dataset, evenly spread."""
