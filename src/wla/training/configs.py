"""Configuration of the training loop, the optimisers and the adapters.

Apart from the code that they configure, because a recipe is read and printed without torch.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wla.config import Config

_Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Config):
    """AdamW with linear warm-up and cosine decay, and Muon for selected matrices.

    Muon (orthogonalised momentum) suits small transformers trained from scratch: on the nano backbone it left the
    initial plateau, before any attention had formed, within 200 steps, where AdamW stayed for thousands.
    """

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"steps", "learning_rate", "final_learning_rate", "muon_learning_rate", "warmup", "weight_decay", "clip"}
    )

    steps: int = Field(ge=1)
    """Total number of steps."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate of AdamW."""
    final_learning_rate: float = Field(default=5e-6, ge=0)
    """Learning rate of AdamW at the end of the decay."""
    warmup: int = Field(default=1000, ge=0)
    """Steps of linear warm-up."""
    betas: tuple[_Beta, _Beta] = (0.9, 0.95)
    weight_decay: float = Field(default=1e-8, ge=0)
    clip: float = Field(default=1.0, gt=0)
    """Maximum norm of the gradient over all parameters."""
    muon: tuple[str, ...] = ()
    """Regular expressions; matrices whose name matches one of them are trained by Muon."""
    muon_learning_rate: float = Field(default=0.02, gt=0)
    """Peak learning rate of Muon, with the same warm-up and decay."""
    freeze: tuple[str, ...] = ()
    """Regular expressions; parameters whose name matches one of them are not trained."""

    @model_validator(mode="after")
    def _rates_decay(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate} is above the peak, {self.learning_rate} "
                "(learning_rate); lower it, or give both the same value for a constant rate"
            )
        return self


class WandbConfig(Config):
    """Weights & Biases (`wandb login` first; with WANDB_MODE=offline nothing is sent until `wandb sync`)."""

    project: str
    """Project of the run."""
    entity: str | None = None
    """User or team; the default one when left out."""
    name: str | None = None
    """Name of the run; that of its folder when left out."""


class LoopConfig(Config):
    """Configuration of the training loop, the same for every objective."""

    may_change: ClassVar[frozenset[str]] = frozenset(
        {"strategy", "save_every", "keep", "log_every", "tensorboard", "wandb", "validation_every", "device"}
    )

    optim: OptimConfig
    batch_size: int = Field(default=64, ge=1)
    """Samples per step, over all micro-batches and processes."""
    micro_batches: int = Field(default=1, ge=1)
    """Micro-batches per step (gradient accumulation): losses and gradients are the mean over them. Several processes
    divide them among themselves."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights; the checkpoint then holds the averaged weights."""
    strategy: Literal["fsdp2", "zero1"] = "fsdp2"
    """Sharding over several processes: PyTorch's FSDP2 shards weights, gradients and optimiser state; DeepSpeed's
    ZeRO-1, as in the published training, the optimiser state alone."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Seed of batches, noise and dropout."""
    save_every: int = Field(default=500, ge=1)
    """Steps between two saves."""
    keep: int = Field(default=2, ge=1)
    """Number of saves that are kept; older ones are removed once a new one is complete."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of metrics.jsonl and, without a terminal, of the log."""
    tensorboard: bool = False
    """Also write TensorBoard events, into RUN/tensorboard (needs `pip install tensorboard`)."""
    wandb: WandbConfig | None = None
    """Also log to Weights & Biases (needs `pip install wandb`): loop.wandb.project=NAME."""
    validation_every: int | None = Field(default=None, ge=1)
    """Steps between two evaluations of the loss on held-out episodes, which the recipe names (`validation_datasets`,
    `datasets.0.validation_fraction`). The checkpoint with the lowest one so far is saved, and RUN/best names it."""
    validation_samples: int = Field(default=256, ge=1)
    """Samples of an evaluation of the held-out loss, the same each time."""
    device: str | None = None
    """Device to train on (cuda, cpu); None is a GPU where there is one."""

    @model_validator(mode="after")
    def _require_divisible(self) -> Self:
        if self.batch_size % self.micro_batches:
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batches {self.micro_batches}; change one"
            )
        return self


class LoraConfig(Config):
    """LoRA adapters (Hu et al. 2021, section 4.1); the names are those of peft."""

    rank: int = Field(ge=1)
    """Rank of the update."""
    alpha: int = Field(ge=1)
    """Scale of the update: alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout probability on an adapter's input."""
    target_modules: tuple[str, ...]
    """Regular expressions; linear layers whose name matches one of them get an adapter."""
    modules_to_save: tuple[str, ...] = ("embed_tokens",)
    """Regular expressions of parameters that are trained in full: meta-queries are tokens, so the embeddings of new
    ones must be learned."""
