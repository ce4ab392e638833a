"""The loss on held-out episodes during training, and the checkpoint that has the lowest."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from wla import runtime
from wla.run_folder import BEST, STEPS, generations, move_pointer
from wla.training.configs import LoopConfig
from wla.training.learner import Learner
from wla.training.metrics import METRICS, VALIDATION, read_metrics
from wla.training.objective import AnyObjective, EpisodeValidation, Validation
from wla.training.objectives.configs import MixtureConfig

LOSS = VALIDATION + "loss"
AnyValidation = Validation | EpisodeValidation


def require_validation(objective: AnyObjective, config: LoopConfig) -> AnyValidation | None:
    """Returns the held-out episodes of a recipe, None when none are asked for. ValueError when there are none."""
    if config.validation_every is None:
        return None
    found = objective.validation
    if found is None and not isinstance(objective.config, MixtureConfig):
        raise ValueError(
            f"loop.validation_every: a recipe of this kind ({type(objective.config).__name__}) has no held-out loss; "
            "leave it out"
        )
    if found is None:
        raise ValueError(
            "loop.validation_every: the recipe has no held-out episodes; set validation_datasets=FOLDER (seeds 10000 "
            "to 19999, or recorded elsewhere), or datasets.0.validation_fraction=0.1"
        )
    return found


def validate(learner: Learner, validation: AnyValidation, config: LoopConfig, device: torch.device) -> dict[str, float]:
    """Returns the mean of each loss term over the held-out samples, and their weighted sum, by name in the log.

    The batches follow from fixed seeds, so they are the same at each step and in each run (several processes round
    their number up). Weights and random states are left as they were. Where episodes are held out, the metrics are
    theirs, and the loss is their reward with the sign changed.
    """
    if isinstance(validation, EpisodeValidation):
        found = validation.evaluate(learner)
        return {LOSS: -found["reward"], **{VALIDATION + name: value for name, value in found.items()}}
    size, processes = config.batch_size // config.micro_batches, runtime.world_size()
    rounds = -(-config.validation_samples // (size * processes))
    sums = dict.fromkeys(validation.weights, 0.0)
    counts = dict.fromkeys(validation.weights, 0.0)
    dtype = runtime.autocast_dtype(device)
    with learner.evaluating(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        for number in range(rounds):
            seed = number * processes + runtime.rank()
            generator = torch.Generator().manual_seed(seed)
            batch = validation.sample_batch(size, generator)
            torch.manual_seed(seed)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                terms = learner.loss_module(batch, device, generator, compute_losses=validation.compute_losses)
            for name, (mean, count) in terms.items():
                sums[name] += float(mean) * count
                counts[name] += count
    reduced = runtime.all_reduce_mean([*sums.values(), *counts.values()])
    means = {
        name: total / count
        for name, total, count in zip(sums, reduced[: len(sums)], reduced[len(sums) :], strict=True)
        if count
    }
    loss = sum(validation.weights[name] * mean for name, mean in means.items())
    return {LOSS: loss, **{VALIDATION + name: mean for name, mean in means.items()}}


class BestCheckpoint:
    """The saved generation with the lowest held-out loss, which `RUN/best` names.

    A resumed run continues from its saves so far, also when it was killed between a save and the move of the pointer.
    """

    def __init__(self, out: Path) -> None:
        self._out, self._loss = out, math.inf
        saved = {int(path.name): path for path in generations(out)}
        for row in read_metrics(out / METRICS):
            step = row["step"] + 1
            if step in saved and row.get(LOSS, math.inf) < self._loss:
                self.move(step, row[LOSS])

    def improves(self, record: dict[str, float]) -> bool:
        """Returns whether a step has a lower held-out loss than the best one."""
        return record.get(LOSS, math.inf) < self._loss

    def move(self, step: int, loss: float) -> None:
        """Points to the generation of a step, which has been saved."""
        self._loss = loss
        if runtime.rank() == 0:
            move_pointer(self._out, self._out / STEPS / f"{step:06d}", BEST)
