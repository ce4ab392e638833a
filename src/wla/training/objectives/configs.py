"""Recipes: the configuration of everything that is trained.

Apart from the objectives, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from wla.config import Config
from wla.data import ActionRepresentationConfig, ImageAugmentation, MemoryAugmentation, NormalizationConfig
from wla.data.dataset_config import DatasetConfig
from wla.data.prompts.configs import PromptConfig
from wla.models import ActionTimeConfig, ImageCodecConfig, MaskedDraftsConfig, OneStepConfig
from wla.models.backbones.configs import NanoBackboneConfig
from wla.models.model_config import AnyModelConfig, RealtimeConfig, RecomputedPart
from wla.training.configs import LoopConfig, LoraConfig
from wla.training.grounding.configs import GroundingSource
from wla.training.objectives.initialization_kinds import AnyInitialization

if TYPE_CHECKING:
    from wla.data.normalize import Statistics
    from wla.specs import RobotSpec
    from wla.training.objectives.action_expert import ActionExpertObjective
    from wla.training.objectives.backbone import BackboneObjective
    from wla.training.objectives.codec import CodecObjective
    from wla.training.objectives.inverse_dynamics import InverseDynamicsObjective
    from wla.training.objectives.masked_drafts import MaskedDraftsObjective
    from wla.training.objectives.policy import PolicyObjective
    from wla.training.objectives.value import ValueObjective
    from wla.training.objectives.world_model import WorldModelObjective


class CodecTrainConfig(Config):
    """Recipe of a codec for the frames of one camera."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    codec: ImageCodecConfig
    datasets: tuple[str, ...] = Field(min_length=1)
    camera: str
    loop: LoopConfig

    def build(self) -> CodecObjective:
        from wla.training.objectives.codec import CodecObjective

        return CodecObjective(self)


class BackboneTrainConfig(GroundingSource):
    """Recipe of a pretrained backbone. datasets: sources of the tokenizer's texts and of the state's range; folders of
    datasets too."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop", "scenes_folder", "workers"})

    backbone: NanoBackboneConfig
    prompt: PromptConfig
    datasets: tuple[str, ...] = Field(min_length=1)
    policy: str | None = None
    """A finished policy whose backbone is trained further, its tokenizer with tokens for new texts; None: new ones."""
    vision_pretrain_steps: int = Field(default=1000, ge=0)
    """At the beginning only the vision stem is trained, on patches: five times as many samples per second."""
    loop: LoopConfig

    def build(self) -> BackboneObjective:
        from wla.training.objectives.backbone import BackboneObjective

        return BackboneObjective(self)


class StatisticsConfig(Config):
    """A JSON file of statistics in the published form, and the dataset in it (None: its only one)."""

    path: str
    entry: str | None = None

    def read(self, robot: RobotSpec) -> Statistics:
        """ValueError when they are absent, damaged, or of another robot."""
        from wla.data.published_statistics import read_published

        dims = {"state_dim": robot.observation.state_dim, "action_dim": robot.action.dim}
        return read_published(Path(self.path), self.entry, **dims)


class MixtureConfig(Config):
    """Datasets of one robot or several, and how their prompts are sampled."""

    datasets: tuple[DatasetConfig, ...]
    validation_datasets: tuple[DatasetConfig, ...] = ()
    """Datasets with validation seeds (`wla collect --split validation`), or of others, that are never trained on: the
    held-out loss is computed on them (see `loop.validation_every`), frames by their number."""
    instruction_dropout: float = Field(default=0.05, ge=0, le=1)
    """Fraction of the samples whose instruction is emptied, for classifier-free guidance."""
    cache_latents: bool = False
    """Let the frozen image codec encode all frames of the primary camera once, into `ROOT/.cache`, instead of some in
    each step (`wla data cache-latents` does so beforehand): for long trainings, and without image_augmentation."""


class PolicyDataConfig(MixtureConfig):
    """The data of a policy's recipe."""

    statistics: StatisticsConfig | None = None
    """Ranges of states and actions, in the published form (None: those of the initialisation, or else those of the
    datasets)."""
    normalization: NormalizationConfig | None = None
    """Modes that normalise states and actions (None: those of the initialisation, or else MIN_MAX)."""
    action_representation: ActionRepresentationConfig | None = None
    """What the model's actions are (None: as in the initialisation, or else the robot's actions)."""
    memory_augmentation: MemoryAugmentation = MemoryAugmentation()
    """Errors of the memory in the prompts, as they will occur in acting."""
    image_augmentation: ImageAugmentation | None = None
    """Random crops and colours of the images, the same in all images of a sample (None: none; `{}`: the usual ones)."""
    image_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the samples that see no images and train the text alone. Where videos of another robot show other
    tasks than the actions do, their appearance gives the task away and nothing has to be read; without images, only the
    instruction does."""
    subgoal_offsets: tuple[Annotated[int, Field(ge=-10_000, le=10_000)], ...] = ()
    """Control steps from now to the frame that the World Expert learns to predict, one of them drawn for each sample;
    negative ones are past. Empty: the chunk's length, and acting predicts no other."""
    clip_subgoals: bool = False
    """A frame that would lie beyond the episode is its last one (or its first), as if the scene stayed. False: a window
    without that frame teaches nothing about the world."""

    @model_validator(mode="after")
    def _cached_latents_are_of_the_images(self) -> Self:
        if self.cache_latents and self.image_augmentation is not None:
            raise ValueError("cache_latents: are of the images as recorded; leave image_augmentation out, or the cache")
        return self


class FramePretrainConfig(Config):
    """Pretraining of the backbone on the frames of the datasets, before the policy learns: it predicts image patches
    that it does not see. It needs neither labels nor actions."""

    steps: int = Field(ge=1)
    """The first steps of `loop.optim.steps`, in which the backbone alone is trained."""
    mask_fraction: float = Field(default=0.5, gt=0, lt=1)
    """Fraction of the patches that are hidden."""


class PolicyTrainConfig(PolicyDataConfig):
    """Recipe of a policy."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"loop", "activation_checkpointing", "replan_steps", "action_noise"}
    )

    model: AnyModelConfig
    init: AnyInitialization
    realtime: RealtimeConfig = RealtimeConfig()
    frame_pretraining: FramePretrainConfig | None = None
    """For a nano backbone (None: the policy learns from the first step on)."""
    lora: LoraConfig | None = None
    """Adapters on the backbone, whose own weights then stay as they are."""
    activation_checkpointing: bool | tuple[RecomputedPart, ...] = False
    """Recompute activations in the backward pass instead of keeping them: far less memory, a third more time. A list
    of parts (`["backbone"]`; also action_expert, world_expert) recomputes only those, where memory is left for the
    others."""
    replan_steps: int | None = Field(default=None, ge=1)
    """Written into the checkpoint: number of actions of a chunk to run before acting again."""
    action_noise: float = Field(default=1.0, ge=0)
    """Written into the checkpoint: see `CheckpointConfig`."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of the checkpoint's weights. Training keeps them in float32 and multiplies in bfloat16."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _require_executable_chunk(self) -> Self:
        chunk = self.model.interface.chunk
        if self.replan_steps is not None and self.replan_steps > chunk:
            raise ValueError(f"replan_steps {self.replan_steps} is more than the {chunk} actions of a chunk; lower it")
        return self

    @model_validator(mode="after")
    def _require_room_for_pretraining(self) -> Self:
        pretraining, steps = self.frame_pretraining, self.loop.optim.steps
        if pretraining is not None and pretraining.steps >= steps:
            raise ValueError(f"frame_pretraining.steps {pretraining.steps} leaves none of the {steps} steps; lower it")
        if pretraining is not None and self.lora is not None:
            raise ValueError("frame_pretraining: trains the backbone, which lora keeps as it is; leave one of them out")
        return self

    @model_validator(mode="after")
    def _require_divisible_scenes(self) -> Self:
        grounding = self.init.grounding
        if grounding is not None and grounding.samples % self.loop.micro_batches:
            scenes, count = grounding.samples, self.loop.micro_batches
            raise ValueError(f"init.grounding.samples {scenes} is not a multiple of loop.micro_batches {count}")
        return self

    def build(self) -> PolicyObjective:
        from wla.training.objectives.policy import PolicyObjective

        return PolicyObjective(self)


class WorldModelTrainConfig(MixtureConfig):
    """Recipe of a World Expert. policy: a checkpoint (folder, bundled name or hub id) to start from."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    policy: str
    timestep_shift: float = Field(default=1.0, gt=0)
    """See `WorldExpertConfig`."""
    pixel_loss_weight: float = Field(default=0.0, ge=0)
    """See `WorldExpertConfig`."""
    action_condition_dropout: float | None = Field(default=None, ge=0, le=1)
    """Condition it on actions, leaving them out for this fraction of the samples; None leaves it as the policy has it.
    See `ChunkConditionConfig`."""
    num_frequencies: int | None = Field(default=None, ge=1)
    """Where `action_condition_dropout` is set: also condition it on the motion that the actions cause, in this number
    of Fourier frequencies (see `MotionConfig`); None leaves it as the policy has it."""
    flow_steps: int = Field(ge=1)
    """Written into the checkpoint: the number of steps in which images are sampled."""
    heads: int | None = Field(default=None, ge=1)
    """Start from a new World Expert with this number of heads of the old one's width; None: fine-tune the policy's."""
    loop: LoopConfig

    @model_validator(mode="after")
    def _require_action_conditioning(self) -> Self:
        if self.num_frequencies is not None and self.action_condition_dropout is None:
            raise ValueError(
                "num_frequencies: describes the motion of actions; set action_condition_dropout, so that it reads some"
            )
        return self

    def build(self) -> WorldModelObjective:
        from wla.training.objectives.world_model import WorldModelObjective

        return WorldModelObjective(self)


class PolicyPartTrainConfig(MixtureConfig):
    """Recipe of one part of a finished policy. policy: a checkpoint (folder, bundled name or hub id) to start from."""

    policy: str
    memory_augmentation: MemoryAugmentation = MemoryAugmentation()
    """Errors of the memory in the prompts, as they will occur in acting."""
    loop: LoopConfig


class ActionExpertTrainConfig(PolicyPartTrainConfig):
    """Recipe of a finished policy's Action Expert alone: its subtasks and images stay as they are. What is None stays
    as the policy has it."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop", "flow_steps", "action_noise"})

    one_step: OneStepConfig | None = None
    """Learn to sample in one step as well."""
    distill: bool = False
    """Learn the answers of the policy as it was at the start: its velocities, so that many steps stay what they are,
    and for one step its actions in `one_step.target_steps` steps from noise of size `action_noise`. False: recorded
    actions, and for one step the answers of the policy as it is now."""
    time: ActionTimeConfig | None = None
    """Distribution of training times."""
    noise_samples_per_chunk: int | None = Field(default=None, ge=1, le=4096)
    """See `ActionExpertConfig`."""
    flow_steps: int | None = Field(default=None, ge=1, le=1000)
    """Written into the checkpoint: the number of steps in which actions are sampled."""
    action_noise: float | None = Field(default=None, ge=0)
    """Written into the checkpoint: see `CheckpointConfig`."""

    @property
    def expert_changes(self) -> dict[str, Any]:
        """Fields of the Action Expert's configuration that it sets."""
        names = ("one_step", "time", "noise_samples_per_chunk", "flow_steps")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def build(self) -> ActionExpertObjective:
        from wla.training.objectives.action_expert import ActionExpertObjective

        return ActionExpertObjective(self)


class MaskedDraftsTrainConfig(PolicyPartTrainConfig):
    """Recipe of drafts for a finished policy's text (see `wla.models.masked_drafter`): its answers stay as they are."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    masked_drafts: MaskedDraftsConfig = MaskedDraftsConfig()

    def build(self) -> MaskedDraftsObjective:
        from wla.training.objectives.masked_drafts import MaskedDraftsObjective

        return MaskedDraftsObjective(self)


class InverseDynamicsTrainConfig(Config):
    """Recipe of a model of inverse dynamics."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    cameras: dict[str, PositiveInt] = Field(min_length=1)
    """Camera -> side of its images."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Datasets of one robot, with actions."""
    loop: LoopConfig

    def build(self) -> InverseDynamicsObjective:
        from wla.training.objectives.inverse_dynamics import InverseDynamicsObjective

        return InverseDynamicsObjective(self)


class ValueTrainConfig(Config):
    """Recipe of a value model."""

    may_change: ClassVar[frozenset[str]] = frozenset({"loop"})

    policy: str
    """A checkpoint whose backbone the value model starts from, with the camera whose future it predicts."""
    datasets: tuple[str, ...] = Field(min_length=1)
    """Rollouts: folders of datasets whose episodes record whether they succeeded (`wla collect --policy`)."""
    discount: float = Field(default=0.98, gt=0, lt=1)
    """See `ValueConfig`."""
    loop: LoopConfig

    def build(self) -> ValueObjective:
        from wla.training.objectives.value import ValueObjective

        return ValueObjective(self)
