"""Configuration of episodes: data collection, memory replay, interventions, candidates.

Apart from the code that they configure, because the command line shows them and must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from pydantic import Field

from wla.config import Config
from wla.envs.registry import DEFAULT_FAMILY

SCRIPTED = ("expert", "random", "zero")
"""Policies that need no checkpoint. Every other name is a checkpoint."""
ActionLabels = Literal["expert", "executed"]
MemoryInterventionKind = Literal["clear", "delete", "insert"]
EngineName = Literal["processes", "ray"]


class EnvironmentNames(Protocol):
    """Options of a command that name an environment."""

    @property
    def env(self) -> str: ...
    @property
    def tasks(self) -> tuple[str, ...]: ...
    @property
    def setting(self) -> tuple[str, ...]: ...
    @property
    def embodiment(self) -> str | None: ...
    @property
    def protocol(self) -> str | None: ...


def is_address(name: str) -> bool:
    """Whether the name of a policy is the address of a server, ws://HOST:PORT or wss://HOST:PORT."""
    return name.startswith(("ws://", "wss://"))


class EngineConfig(Config):
    """Where environments run. One alone runs in this process, unless it is Ray's."""

    num_envs: int = Field(default=1, ge=1)
    env_timeout_s: float = Field(default=120.0, gt=0)
    """Seconds after which a step or reset of an environment in another process counts as hanging."""
    engine: EngineName = "processes"
    address: str | None = None
    """Of a Ray cluster; None starts one on this machine."""

    @classmethod
    def of(cls, options: Config) -> EngineConfig:
        """From options of the same names. ValueError for an address without Ray."""
        found = cls(**{name: getattr(options, name) for name in cls.model_fields})
        if found.address is not None and found.engine != "ray":
            raise ValueError(f"--address {found.address} is that of a Ray cluster: add --engine ray")
        return found


class BestOfNConfig(Config):
    """Selection among a policy's candidate chunks by a value model or a goal image (see `wla.policy.best_of_n`), or
    without either (`wla.policy.keystone`)."""

    value: str | None
    goal: str | None
    num_candidates: int = Field(ge=1)
    imagination_horizon: int = Field(ge=1)
    memory_reset: bool
    selection_margin: float = Field(ge=0)
    action_conditioning: bool
    time_budget_ms: float | None = Field(gt=0)
    consensus: bool = False


class CollectConfig(Config):
    """Arguments of `collect`."""

    env: str = DEFAULT_FAMILY
    """Environment: name of a family, mapping file of a gymnasium environment (see wla init), or gymnasium id."""
    tasks: tuple[str, ...] = ()
    """Tasks or named groups of them; the environment's default ones when left out."""
    setting: tuple[str, ...] = ()
    """One or more of the environment's settings; its first one when left out."""
    embodiment: str | None = None
    """Robot; the environment's first one when left out."""
    protocol: str | None = None
    """Way to measure: step limits, initial states, rule of success; the environment's first one when left out."""
    episodes: int = Field(default=100, ge=1)
    """Episodes tried per task and setting; successes are kept."""
    policy: str | None = None
    """A checkpoint (folder, bundled name or hub id) that acts in turns with the expert, or alone; random or zero alone.
    Failures are kept too."""
    action_labels: ActionLabels | None = None
    """With a policy: record the subtasks and actions that the expert would choose (expert), to imitate them, or those
    that were executed, to learn their outcome. Left out: the expert's, or the executed ones where a policy acts
    alone."""
    expert_fraction: float = Field(default=0.5, ge=0, le=1)
    """With a policy: fraction of the turns in which the expert acts; 0 leaves all turns to the policy."""
    random_fraction: float = Field(default=0.0, ge=0, le=1)
    """With a policy: fraction of the turns in which the robot moves at random."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """First seed."""
    split: Literal["training", "validation", "evaluation"] = "training"
    """Range of the seeds: training (0-9999), or for measurements validation (10000-19999) and evaluation (100000 and
    up), which training refuses."""
    perturb: bool = True
    """Disturb the motion now and then, so that the expert shows how to recover. A policy alone is never disturbed."""
    actions: bool = True
    """Record actions; without them the dataset is video only."""
    num_envs: int = Field(default=1, ge=1)
    """Environments that run at once, each in a process of its own, around one policy; 1 runs in this process."""
    env_timeout_s: float = Field(default=120.0, gt=0)
    """With several environments: seconds for a step or reset, after which it is killed and its episode an error."""
    engine: EngineName = "processes"
    """Where environments run: in processes of this machine, or as Ray actors, of a cluster with --address."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the cluster's head (auto: the one of this machine); left out, Ray starts here."""

    @property
    def seeds(self) -> range:
        return range(self.seed, self.seed + self.episodes)


class RecordMemoryConfig(Config):
    """Arguments of `record_memory`."""

    policy: str
    """A checkpoint that predicts subtasks: folder, bundled name or hub id."""
    dataset: Path
    """A LeRobot dataset of the same robot: its folder, or (on the command line) its id on the Hugging Face hub."""
    robot: str | None = None
    """Its robot, of a policy for several, where the dataset does not state one."""
    out: Path
    """File for the policy's memory (.parquet): `memory_replay` of a dataset in a recipe."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""
