"""`wla estimate`: the estimate as text, whether it fits on a GPU, and which overrides would make it fit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import NamedTuple

from wla.models.configs import WLAConfig
from wla.models.model_config import require_config
from wla.training.memory_estimate.activations import Kernels
from wla.training.memory_estimate.estimate import RESERVE, Memory, inference_memory, training_memory
from wla.training.memory_estimate.saved_activations import SavedActivations
from wla.training.memory_estimate.workload import Sizes, Workload, workload
from wla.training.objectives.configs import PolicyTrainConfig

GB = 10**9
MEMORY_LABELS = {
    "weights": "weights, float32",
    "gradients": "gradients",
    "optimizer_state": "moments of the optimiser",
    "ema": "average of the weights",
    "gathered": "gathered from other processes",
    "copies": "weights again in bfloat16, by autocast",
    "activations": "activations",
    "workspace": "largest computation beside them",
}


class Suggestion(NamedTuple):
    """Overrides of a recipe (or more processes), and the memory that they lead to."""

    overrides: tuple[str, ...]
    processes: int
    memory: Memory
    same_result: bool
    """Whether what is trained stays the same but for rounding."""


class Estimate:
    """Memory of variants of one recipe; models that differ in no parameter are built once."""

    def __init__(self, config: PolicyTrainConfig, *, processes: int = 1) -> None:
        """ValueError when the micro-batches cannot be shared by the processes, or a pattern matches nothing."""
        count = config.loop.micro_batches
        if count % processes:
            raise ValueError(
                f"{count} micro-batches cannot be shared by {processes} processes: set loop.micro_batches to a multiple"
            )
        self.config, self.processes = config, processes
        self._built: dict[tuple[object, ...], Sizes] = {}

    def sizes(self, work: Workload) -> Sizes:
        key = (work.freeze, work.adapters, work.rank)
        if key not in self._built:
            self._built[key] = Sizes(work)
        return self._built[key]

    def memory(self, overrides: Iterable[str] = (), processes: int | None = None) -> Memory:
        """Of the recipe with overrides."""
        work = workload(self.config.override(tuple(overrides)), processes or self.processes)
        return training_memory(work, self.sizes(work))

    def suggest(self, gpu: int, overrides: tuple[str, ...] = ()) -> list[Suggestion]:
        """What helps on top of `overrides`, best first: what leaves the result as it is, and then the smallest memory.

        gpu: bytes. Of micro-batches and of processes, as few as fit, or as many as there can be.
        """
        config, now = self.config.override(overrides), self.memory(overrides)
        found = [
            change
            for candidates, same in (
                (self._micro_batch_options(config), True),
                (_activation_checkpointing(config), True),
                (_reduced_training(config), False),
            )
            for change in self._evaluate(candidates, overrides, gpu, same_result=same)
        ]
        for processes in (2, 4, 8):
            if processes > self.processes and config.loop.micro_batches % processes == 0:
                more = Suggestion(overrides, processes, self.memory(overrides, processes), True)
                if more.memory.total <= gpu or processes == 8:
                    found.append(more)
                    break
        better = [change for change in found if change.memory.total < now.total]
        return sorted(better, key=lambda change: (not change.same_result, change.memory.total))

    def combined(self, gpu: int) -> Suggestion:
        """Changes on one another, the best first, until all fits on the same processes or nothing helps any more."""
        best = Suggestion((), self.processes, self.memory(), True)
        while best.memory.total > gpu:
            more = [change for change in self.suggest(gpu, best.overrides) if change.processes == self.processes]
            if not more:
                break
            best = more[0]._replace(same_result=best.same_result and more[0].same_result)
        return best

    def _micro_batch_options(self, config: PolicyTrainConfig) -> list[str]:
        """More micro-batches, fewest first."""
        size, now = config.loop.batch_size, config.loop.micro_batches
        counts = [n for n in range(now + 1, size + 1) if size % n == 0 and n % self.processes == 0]
        return [f"loop.micro_batches={count}" for count in counts]

    def _evaluate(
        self, candidates: list[str], overrides: tuple[str, ...], gpu: int, *, same_result: bool
    ) -> list[Suggestion]:
        tried = []
        for index, override in enumerate(candidates):
            more = (*_without_override(overrides, override), override)
            memory = self.memory(more)
            split = override.startswith("loop.micro_batches")
            if not split or memory.total <= gpu or index + 1 == len(candidates):
                tried.append(Suggestion(more, self.processes, memory, same_result))
                if split:
                    break
        return tried


def _without_override(overrides: tuple[str, ...], override: str) -> tuple[str, ...]:
    """The overrides but those of the field that `override` sets."""
    return tuple(other for other in overrides if other.partition("=")[0] != override.partition("=")[0])


def _activation_checkpointing(config: PolicyTrainConfig) -> list[str]:
    return [] if config.activation_checkpointing is True else ["activation_checkpointing=true"]


def _reduced_training(config: PolicyTrainConfig) -> list[str]:
    """Overrides that train fewer parameters than the recipe."""
    model = require_config(config.model, WLAConfig, "the estimate")
    text = model.backbone.text_layers.removeprefix("model.")
    found = []
    # Freezing would leave nothing to patterns that name matrices for Muon.
    if config.lora is None and not config.loop.optim.muon:
        found.append("lora=" + json.dumps({"rank": 16, "alpha": 32, "target_modules": [text]}))
        vision = f"backbone.{model.backbone.vision_module}".replace(".", "[.]")
        # The embeddings stay trained: the meta-queries are among them.
        for pattern in (f"{text.replace('.', '[.]')}|{vision}", vision, "world_expert[.]"):
            if pattern not in config.loop.optim.freeze:
                found.append("loop.optim.freeze=" + json.dumps([*config.loop.optim.freeze, pattern]))
    samples = config.loop.batch_size // config.loop.micro_batches
    if samples > 1 and model.max_world_samples != 1:
        found.append("model.max_world_samples=1")
    if config.loop.ema is not None:
        found.append("loop.ema=null")
    return found


def report(name: str, config: PolicyTrainConfig, *, gpu: float, processes: int) -> str:
    """All that `wla estimate` prints. gpu: GB of one, 10^9 bytes each."""
    estimate = Estimate(config, processes=processes)
    work = workload(config, processes)
    sizes, memory = estimate.sizes(work), estimate.memory()
    fits = memory.total <= gpu * GB
    lines = [
        *_parameters(name, sizes),
        "",
        *_inference_lines(config, work, sizes),
        "",
        *_training_lines(config, work, sizes, memory),
    ]
    lines.append(f"{'fits' if fits else 'DOES NOT FIT'} on a GPU of {gpu:g} GB")
    if not fits:
        lines += ["", *_suggestions(estimate, gpu)]
    return "\n".join(lines)


def _parameters(name: str, sizes: Sizes) -> list[str]:
    parts = sizes.parts()
    whole, trained = (sum(column) for column in zip(*parts.values(), strict=True))
    rows = [*parts.items(), ("total", (whole, trained))]
    head = f"{name:<26}{'parameters':>16}{'trained':>16}{'frozen':>16}"
    return [head, *(f"  {part:<24}{all_:>16,}{ours:>16,}{all_ - ours:>16,}" for part, (all_, ours) in rows)]


def _inference_lines(config: PolicyTrainConfig, work: Workload, sizes: Sizes) -> list[str]:
    acting = inference_memory(work, sizes)
    alone = acting.weights + acting.cache + acting.workspace + RESERVE
    rows = [
        ("weights", acting.weights),
        ("cache of keys and values", acting.cache),
        ("activations of one act", acting.workspace),
        ("all, with CUDA and gaps (allowance)", alone),
        ("World Expert and codec, to imagine", acting.imagination_weights),
        ("activations of one image", acting.imagination_workspace),
        ("all, to imagine", alone + acting.imagination_weights + acting.imagination_workspace),
    ]
    return [f"acting, {config.dtype}, {work.tokens} tokens, GB", *memory_rows(rows)]


def _training_lines(config: PolicyTrainConfig, work: Workload, sizes: Sizes, memory: Memory) -> list[str]:
    loop = config.loop
    asked = work.activation_checkpointing
    how = "recomputing activations" if asked else "keeping activations"
    how += f" of {', '.join(asked)}" if isinstance(asked, tuple) and asked else ""
    sharing = f"{work.processes} processes ({loop.strategy})" if work.processes > 1 else "one process"
    head = (
        f"training, {sharing}, micro-batches of {work.samples} (batch {loop.batch_size}), "
        f"{work.tokens} tokens a sample, {how}, GB of each process"
    )
    rows = []
    for field in fields(memory):
        value = getattr(memory, field.name)
        if value:
            rows.append((MEMORY_LABELS[field.name], value))
        if field.name == "activations":
            parts = SavedActivations(work, sizes, Kernels()).parts
            rows += [(f"  {part}", kept) for part, kept in parts.items() if kept]
    return [head, *memory_rows([*rows, ("CUDA and gaps (allowance)", RESERVE), ("all", memory.total)])]


def memory_rows(rows: list[tuple[str, int]]) -> list[str]:
    """Lines of labels and their bytes, in GB."""
    return [f"  {name:<42}{value / GB:>10.2f}" for name, value in rows]


def _suggestions(estimate: Estimate, gpu: float) -> list[str]:
    changes = estimate.suggest(int(gpu * GB))
    lines = ["what to change, best first, and the GB of each process then"]
    for same, title in ((True, "the result stays the same:"), (False, "trains less:")):
        chosen = [change for change in changes if change.same_result == same]
        lines += [f" {title}"] * bool(chosen) + [_line(change, estimate, gpu) for change in chosen]
    together = estimate.combined(int(gpu * GB))
    if len(together.overrides) > 1:
        lines += [" together:", _line(together, estimate, gpu)]
    if together.memory.total > gpu * GB:
        lines.append(f" nothing known fits {estimate.processes} x {gpu:g} GB; more processes or larger GPUs do")
    return lines


def _line(change: Suggestion, estimate: Estimate, gpu: float) -> str:
    overrides = [
        f"'{override}'" if any(letter in override for letter in '[]{}" ') else override for override in change.overrides
    ]
    overrides += [f"--processes {change.processes}"] * (change.processes != estimate.processes)
    fits = "fits" if change.memory.total <= gpu * GB else ""
    return f"  {change.memory.total / GB:8.2f}  {fits:<6}{' '.join(overrides)}"
