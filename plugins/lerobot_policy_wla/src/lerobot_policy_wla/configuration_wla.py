"""The configuration `--policy.type=wla`: what LeRobot has to know before there is a model."""

from __future__ import annotations

from dataclasses import dataclass, field

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig, CosineDecayWithWarmupSchedulerConfig
from lerobot.policies.rtc import RTCConfig

from wla.policy import CheckpointConfig, fetch_config
from wla.types import ImageKey

NEW_CHUNK = 16
"""Actions in a chunk of a new policy."""


@PreTrainedConfig.register_subclass("wla")
@dataclass
class WlaConfig(PreTrainedConfig):
    """A policy of the package wla.

    Args:
        checkpoint: a policy of wla (bundled name, folder or hub id) to act with or to fine-tune. Without it, and
            without `--policy.path`, training makes a new one of nano size for its dataset.
        chunk_size: actions in a chunk; fixed by the checkpoint, if there is one.
        n_action_steps: actions of a chunk that are executed before the next call; None for what the checkpoint advises.
        flow_steps: integration steps of the actions; None for the checkpoint's.
        observation_offsets: control steps, relative to now, of the frames that training reads; filled in.
        normalization_mapping: IDENTITY throughout. A wla policy has the statistics inside, so that training, acting
            and real-time chunking cannot disagree about units.
        rtc_config: set by `lerobot-rollout --inference.type=rtc`. Only `enabled` is read: schedule and strength of the
            guidance are wla's.
    """

    checkpoint: str | None = None
    chunk_size: int | None = None
    n_action_steps: int | None = None
    flow_steps: int | None = None
    observation_offsets: list[int] | None = None
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)
    )
    rtc_config: RTCConfig | None = None

    optimizer_lr: float = 3e-4
    optimizer_betas: tuple[float, float] = (0.9, 0.95)
    optimizer_eps: float = 1e-8
    optimizer_weight_decay: float = 0.01
    optimizer_grad_clip_norm: float = 1.0
    scheduler_warmup_steps: int = 500
    scheduler_decay_steps: int = 30_000
    scheduler_decay_lr: float = 1e-5

    def __post_init__(self) -> None:
        """ValueError for numbers that do not fit each other."""
        super().__post_init__()
        if self.checkpoint is not None and None in (self.chunk_size, self.n_action_steps, self.observation_offsets):
            self.describe(fetch_config(self.checkpoint))
        if self.chunk_size is None:
            self.chunk_size = NEW_CHUNK
        if self.observation_offsets is None:
            self.observation_offsets = [0, self.chunk_size]
        if self.n_action_steps is None:
            self.n_action_steps = max(1, self.chunk_size // 2)
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(
                f"n_action_steps is {self.n_action_steps}; a chunk has {self.chunk_size} actions (chunk_size)"
            )
        if any(mode != NormalizationMode.IDENTITY for mode in self.normalization_mapping.values()):
            raise ValueError(
                "normalization_mapping: a wla policy normalises inside; leave the mapping out (IDENTITY throughout)"
            )

    def describe(self, config: CheckpointConfig) -> None:
        """Fills in what a checkpoint decides; what the user stated stays."""
        chunk = config.model.interface.chunk
        self.chunk_size = self.chunk_size or chunk
        self.n_action_steps = self.n_action_steps or config.replan_steps or chunk
        self.observation_offsets = self.observation_offsets or observation_offsets(config)

    @property
    def observation_delta_indices(self) -> list[int]:
        assert self.observation_offsets is not None
        return self.observation_offsets

    @property
    def action_delta_indices(self) -> list[int]:
        assert self.chunk_size is not None
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> AdamWConfig:
        return AdamWConfig(
            lr=self.optimizer_lr,
            betas=self.optimizer_betas,
            eps=self.optimizer_eps,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineDecayWithWarmupSchedulerConfig:
        return CosineDecayWithWarmupSchedulerConfig(
            peak_lr=self.optimizer_lr,
            decay_lr=self.scheduler_decay_lr,
            num_warmup_steps=self.scheduler_warmup_steps,
            num_decay_steps=self.scheduler_decay_steps,
        )

    def validate_features(self) -> None:
        """ValueError without a camera or an action."""
        if not self.image_features or self.action_feature is None:
            raise ValueError(
                "a wla policy needs a camera and an action; the features are "
                f"{', '.join([*(self.input_features or ()), *(self.output_features or ())]) or 'none'}"
            )


def observation_offsets(config: CheckpointConfig) -> list[int]:
    """Control steps, relative to now, of the frames that training a policy reads: an earlier one of the primary camera,
    the current one, and the one after the chunk."""
    interface, prompt = config.model.interface, config.prompt
    times = {ImageKey.parse(name).time for name in interface.images}
    earlier = {-prompt.history} if prompt is not None and "history" in times else set()
    later = set() if interface.subgoal_size is None else {interface.chunk}
    return sorted(earlier | {0} | later)
