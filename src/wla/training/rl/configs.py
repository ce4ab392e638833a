"""Recipes of reinforcement learning.

Apart from the objectives, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wla.config import Config
from wla.envs.registry import DEFAULT_FAMILY
from wla.rollout.configs import EngineConfig, EngineName
from wla.training.configs import LoopConfig

if TYPE_CHECKING:
    from wla.training.rl.learner import RLObjective


class PolicyGradientConfig(Config):
    """Clipped policy gradient on the log-probabilities of Flow-SDE."""

    noise_level: float = Field(default=0.5, gt=0)
    """Standard deviation of the stochastic step of each chunk, in units of the flow (a of Flow-SDE)."""
    clip: float = Field(default=0.2, gt=0, lt=1)
    """Range of the probability ratio, 1 - clip .. 1 + clip, beyond which a call teaches nothing further."""
    kl_weight: float = Field(default=0.01, ge=0)
    """Weight of the divergence from the policy that training started from."""


class GRPOConfig(PolicyGradientConfig):
    """Group-relative policy optimisation: an episode is compared with the others of its group."""

    kind: Literal["grpo"] = "grpo"


class PPOConfig(PolicyGradientConfig):
    """Proximal policy optimisation: a call is compared with what a value network expected of it, which is learned from
    the states of the meta-queries and goes when training is done."""

    kind: Literal["ppo"] = "ppo"
    discount: float = Field(default=0.99, gt=0, le=1)
    """Of the reward of the next call."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Decay of generalised advantage estimation: 0 trusts the value network, 1 the rewards."""
    value_clip: float = Field(default=0.2, gt=0)
    """How far a value may move in an update before its error teaches nothing further."""
    value_weight: float = Field(default=0.5, gt=0)
    """Weight of the value network's squared error."""


class NFTConfig(Config):
    """Negative-aware fine-tuning of the velocities: without likelihoods or stochastic steps, so also for few steps."""

    noise_level: ClassVar[float] = 0.0

    kind: Literal["nft"] = "nft"
    beta: float = Field(default=1.0, gt=0)
    """How far the velocities of good and bad chunks are apart, in units of what they change."""
    reference_weight: float = Field(default=0.1, ge=0)
    """Weight of the squared distance of its predictions from those of the policy that training started from."""
    noise_samples_per_chunk: int = Field(default=4, ge=1, le=4096)
    """Noise samples that each chunk is trained with per pass."""


class SpeedRewardConfig(Config):
    """Fewer flow steps are rewarded beside success (after LightningRL): each call draws their number from a
    distribution that is learned, and the checkpoint acts with the most likely one."""

    flow_steps: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(min_length=2)] = (1, 2, 4, 10)
    """Numbers of steps to choose from."""
    weight: float = Field(default=0.5, gt=0)
    """Weight of the speed, of which the mean number of steps of an episode counts."""
    decoupled: bool = True
    """Normalise reward and speed in each group on their own before they are added, so that neither drowns the other;
    otherwise their sum, with the speed in fractions of the largest number of steps."""


class RolloutsConfig(Config):
    """Where the environments of rollouts run."""

    engine: EngineName = "processes"
    """In processes of this machine, or as Ray actors."""
    address: str | None = None
    """With Ray: HOST:PORT of a cluster's head (auto: the one of this machine); None starts Ray on this machine."""

    @model_validator(mode="after")
    def _address_is_of_ray(self) -> Self:
        if self.address is not None and self.engine != "ray":
            raise ValueError(f"address {self.address} is that of a Ray cluster: add loop.rollouts.engine=ray")
        return self


class RLLoopConfig(LoopConfig):
    """Configuration of the loop of updates."""

    may_change: ClassVar[frozenset[str]] = LoopConfig.may_change | {"rollouts"}

    rollouts: RolloutsConfig = RolloutsConfig()


class RLTrainConfig(Config):
    """Recipe of a finished policy's Action Expert by reinforcement learning: its subtasks and images stay as they are.

    A step of the loop is an update: groups of episodes from the same seeds with different noise, then some passes over
    their calls of the policy in minibatches of `loop.batch_size`.
    """

    may_change: ClassVar[frozenset[str]] = frozenset({"loop", "num_envs", "env_timeout_s", "validation_episodes"})

    policy: str
    """A checkpoint (folder, bundled name or hub id) to start from."""
    env: str = DEFAULT_FAMILY
    """Environment: name of a family, mapping file of a gymnasium environment, or gymnasium id."""
    tasks: tuple[str, ...] = ()
    """Tasks or named groups of them; the environment's default ones when left out."""
    setting: tuple[str, ...] = ()
    """One or more of the environment's settings; its first one when left out."""
    embodiment: str | None = None
    """Robot; the environment's first one when left out."""
    protocol: str | None = None
    """Way to measure; the environment's first one when left out."""
    reward: Literal["success", "return"] = "success"
    """Reward of an episode: 1 for success and 0 otherwise, or the sum of the environment's rewards, where they are
    dense."""
    groups: int = Field(default=8, ge=1)
    """Groups of an update; tasks and settings take turns."""
    group_size: int = Field(default=8, ge=2)
    """Episodes of a group, which share the training seed of their environment and differ in the policy's noise."""
    group_filter: bool = True
    """Leave out groups of which fewer than a tenth or more than nine tenths succeeded: they hardly tell good from bad
    (with reward=return: groups whose rewards are all the same; with speed: groups without a success, and those whose
    speeds are all the same). PPO learns from all."""
    objective: Annotated[GRPOConfig | PPOConfig | NFTConfig, Field(discriminator="kind")] = GRPOConfig()
    anchor_weight: float = Field(default=0.0, ge=0)
    """Weight of imitating the chunks of successful episodes; LightningRL: 0.1."""
    speed: SpeedRewardConfig | None = None
    """Also reward few flow steps; None: the policy's own number of steps."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the calls of an update."""
    num_envs: int = Field(default=1, ge=1)
    """Environments that run at once, each in a process of its own, around one policy; 1 runs in this process. A row of
    a batch differs from acting alone by rounding, so a run is repeatable with the same number."""
    env_timeout_s: float = Field(default=120.0, gt=0)
    """With several environments: seconds for a step or reset, after which it is killed and its episode left out."""
    validation_episodes: int = Field(default=20, ge=1, le=10_000)
    """Episodes of each task and setting in a validation (`loop.validation_every`), with validation seeds."""
    loop: RLLoopConfig

    @property
    def engine(self) -> EngineConfig:
        """Where the environments run."""
        rollouts = self.loop.rollouts
        return EngineConfig(
            num_envs=self.num_envs,
            env_timeout_s=self.env_timeout_s,
            engine=rollouts.engine,
            address=rollouts.address,
        )

    @model_validator(mode="after")
    def _require_groups_for_speed(self) -> Self:
        if self.speed is not None and self.objective.kind == "ppo":
            raise ValueError("speed: few steps are rewarded within groups, which PPO has none of; objective.kind=grpo")
        return self

    @model_validator(mode="after")
    def _require_one_micro_batch(self) -> Self:
        if self.loop.micro_batches > 1:
            raise ValueError("loop.micro_batches: reinforcement learning has minibatches alone; lower loop.batch_size")
        return self

    def build(self) -> RLObjective:
        from wla.training.rl.learner import RLObjective

        return RLObjective(self)
