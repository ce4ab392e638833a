"""Configuration of evaluations.

Apart from the code that they configure, because the command line shows them and must not wait for torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from wla.config import Config
from wla.control.latency import Chunking, Latency, TimingConfig
from wla.envs.registry import DEFAULT_FAMILY, load_family
from wla.policy.inference_options import InferenceOptions
from wla.rollout.configs import BestOfNConfig, EngineName, MemoryInterventionKind

if TYPE_CHECKING:
    from wla.rollout.results import TaskVariant


class EvalConfig(InferenceOptions):
    """Arguments of `run_benchmark`."""

    policy: str
    """A checkpoint (folder, bundled name or hub id), a server (ws://HOST:PORT), or one of: expert, random, zero."""
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
    episodes: int = Field(default=50, ge=1)
    """Episodes per task and setting."""
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    """First seed; the start of the split's range when left out."""
    split: Literal["evaluation", "validation"] = "evaluation"
    """Range of the seeds: evaluation (100000 and up) or validation (10000-19999)."""
    replan_steps: int | None = Field(default=None, ge=1)
    """Actions of each chunk that are executed before the policy acts again; chosen by the policy when left out."""
    imagine: bool = False
    """Also imagine subgoal images, in the episodes that are recorded."""
    memory_intervention: MemoryInterventionKind | None = None
    """Intervene on the policy's memory: clear it before every call, or delete or insert one item once."""
    num_candidates: int = Field(default=1, ge=1)
    """Candidate chunks at each call, selected by their imagined outcomes (--value, --goal) or by --consensus."""
    imagination_horizon: int = Field(default=1, ge=1)
    """Chunks ahead that outcomes are imagined; with --memory-reset-candidates, 1 was best in memory tasks."""
    memory_reset_candidates: bool = False
    """Clear the memory for half of the candidates, so that they retry a subtask that the policy believes finished."""
    selection_margin: float = Field(default=0.0, ge=0)
    """Margin by which a candidate's score must exceed that of the policy's own choice to be executed."""
    action_conditioning: bool = True
    """Condition imagined outcomes on each candidate's actions, where the World Expert is action-conditioned."""
    value: str | None = None
    """Value model that scores imagined outcomes: folder, bundled name or hub id."""
    goal: str | None = None
    """Image file of the goal, as the primary camera would see it; imagined outcomes are scored by agreement."""
    consensus: bool = False
    """Execute the candidate in the middle of the largest cluster (KeyStone); nothing is imagined or scored."""
    time_budget_ms: float | None = Field(default=None, gt=0)
    """Milliseconds for a call with several candidates; after that, the best so far is executed."""
    latency_ms: float | None = Field(default=None, ge=0, le=60_000)
    """Simulate a policy whose chunk comes that many milliseconds after its observation, in virtual time."""
    jitter_ms: float = Field(default=0.0, ge=0, le=60_000)
    """With a latency: its standard deviation."""
    drop_rate: float = Field(default=0.0, ge=0, lt=1)
    """With a latency: fraction of the answers that get lost and are asked for again."""
    chunking: Chunking = "sync"
    """With a latency: what the robot does meanwhile. It stands still (sync), executes the rest of its chunk (async) and
    has the next one continue it (rtc), or executes the mean of all chunks for the step (ensemble)."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""
    max_videos: int = Field(default=6, ge=0)
    """Recorded episodes per task and setting: up to a third successes, the rest failures and errors."""
    num_envs: int = Field(default=1, ge=1)
    """Environments that run at once, each in a process of its own, around one policy; 1 runs in this process."""
    env_timeout_s: float = Field(default=120.0, gt=0)
    """With several environments: seconds for a step or reset, after which it is killed and its episode an error."""
    engine: EngineName = "processes"
    """Where environments run: in processes of this machine, or as Ray actors, of a cluster with --address."""
    address: str | None = None
    """With --engine ray: HOST:PORT of the cluster's head (auto: the one of this machine); left out, Ray starts here."""

    @property
    def best_of_n(self) -> BestOfNConfig | None:
        """Selection among candidates; None for a single one.

        ValueError for several candidates without exactly one way to select, for halves of an odd number, and for what
        only scores need.
        """
        if self.memory_reset_candidates and self.num_candidates % 2:
            raise ValueError(
                "--memory-reset-candidates: half of the candidates forget, so --num-candidates is even, "
                f"not {self.num_candidates}"
            )
        if self.num_candidates == 1:
            return None
        if [self.value is None, self.goal is None, not self.consensus].count(False) != 1:
            raise ValueError(
                f"{self.num_candidates} candidates need one thing that selects among them: --value FOLDER, "
                "--goal IMAGE or --consensus"
            )
        scored = {"imagination_horizon", "selection_margin", "memory_reset_candidates", "time_budget_ms"}
        unused = [name for name in sorted(scored) if getattr(self, name) != type(self).model_fields[name].default]
        if self.consensus and unused:
            raise ValueError(f"--consensus scores nothing: leave out --{unused[0].replace('_', '-')}")
        return BestOfNConfig(
            value=self.value,
            goal=self.goal,
            num_candidates=self.num_candidates,
            imagination_horizon=self.imagination_horizon,
            memory_reset=self.memory_reset_candidates,
            selection_margin=self.selection_margin,
            action_conditioning=self.action_conditioning,
            time_budget_ms=self.time_budget_ms,
            consensus=self.consensus,
        )

    @property
    def timing(self) -> TimingConfig | None:
        """How chunks reach the robot; None where they take no time. ValueError for a part of it without a latency."""
        if self.latency_ms is None:
            if (self.jitter_ms, self.drop_rate, self.chunking) != (0.0, 0.0, "sync"):
                raise ValueError("--jitter-ms, --drop-rate and --chunking describe a latency: give --latency-ms, too")
            return None
        latency = Latency(latency_ms=self.latency_ms, jitter_ms=self.jitter_ms, drop_rate=self.drop_rate)
        return TimingConfig(chunking=self.chunking, latency=latency, replan_steps=self.replan_steps)

    @property
    def seeds(self) -> range:
        start = load_family(self.env).seeds[self.split].start if self.seed is None else self.seed
        return range(start, start + self.episodes)


class OpenLoopConfig(Config):
    """Arguments of `evaluate_open_loop`."""

    policy: str
    """A checkpoint (folder, bundled name or hub id), random or zero."""
    dataset: Path
    """Folder of a LeRobot dataset of the same robot that was not trained on, or (on the command line) its id on the
    Hugging Face hub."""
    robot: str | None = None
    """Its robot, of a policy for several, where the dataset does not state one."""
    episodes: int = Field(default=100, ge=1)
    """Episodes to replay, evenly spread over the dataset."""
    imagine: bool = True
    """Also imagine and compare images, where the policy predicts any."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""


class WorldEvalConfig(Config):
    """Arguments of `evaluate_world`."""

    policy: str
    """A checkpoint: folder, bundled name or hub id."""
    dataset: Path
    """Folder of a LeRobot dataset of the same robot that was not trained on, or (on the command line) its id on the
    Hugging Face hub."""
    robot: str | None = None
    """Its robot, of a policy for several, where the dataset does not state one."""
    frames: int = Field(default=200, ge=1)
    """Frames whose future is imagined, evenly spread over the dataset."""
    samples: int = Field(default=4, ge=1)
    """Images imagined per frame, from different noise."""
    flow_steps: tuple[PositiveInt, ...] = ()
    """Numbers of sampling steps to compare; the policy's own when left out. The HTML report shows the first."""
    num_report_frames: int = Field(default=24, ge=1)
    """Frames in the HTML report."""
    metric_codec: str | None = None
    """A policy whose image codec measures the perceptual distance, so that policies with different codecs are measured
    alike; the policy's own when left out."""
    device: str | None = None
    """Device of the policy (cuda, cpu); chosen by the policy when left out."""


class ValueEvalConfig(Config):
    """Arguments of `evaluate_value`."""

    value: str
    """A value model: folder, bundled name or hub id."""
    datasets: tuple[str, ...]
    """Rollouts that it was not trained on: folders, or ids on the hub, of datasets that record the success of their
    episodes."""
    frames: int = Field(default=2000, ge=1)
    """Frames of each dataset, evenly spread."""


PROTOCOL = "person"
"""The rule of success of trials: a person saw it."""
TrialOutcome = Literal["success", "failure", "error"]
"""`wla.types.Outcome`, which loads numpy; help does not wait for that."""


class TrialConfig(Config):
    """What was tried."""

    policy: str
    """The policy: checkpoint, server, or any name."""
    robot: str
    """The robot that it drove."""
    task: str
    """Short name of the task."""
    setting: str = "default"
    """What else was varied: the table, the light."""
    instruction: str = ""
    """The instruction that was given."""

    @property
    def variant(self) -> TaskVariant:
        from wla.rollout.results import TaskVariant

        return TaskVariant("robot", self.task, self.setting, self.robot, PROTOCOL)
