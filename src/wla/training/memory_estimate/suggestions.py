"""`wla estimate`: the estimate as text, whether it fits on a GPU, and which overrides would make it fit."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import NamedTuple

from wla.models.backbones.nano import NanoBackboneConfig
from wla.presets.wla0 import presets
from wla.training.memory_estimate.activations import Kernels
from wla.training.memory_estimate.estimate import (
    RESERVE,
    Memory,
    Sizes,
    Workload,
    acting_memory,
    kept_activations,
    training_memory,
    workload,
)
from wla.training.objectives.policy import PolicyTraining
from wla.training.wla0 import published_training

GB = 10**9
MEANING = {
    "weights": "weights, float32",
    "gradients": "gradients",
    "moments": "moments of the optimiser",
    "average": "average of the weights",
    "gathered": "gathered from other processes",
    "copies": "weights again in bfloat16, by autocast",
    "activations": "activations",
    "workspace": "largest computation beside them",
}


class Change(NamedTuple):
    """Overrides of a recipe (or more processes), and the memory that they lead to."""

    words: tuple[str, ...]
    processes: int
    memory: Memory
    same_result: bool
    """Whether what is trained stays the same but for rounding."""


class Estimate:
    """Memory of variants of one recipe; models that differ in no parameter are built once."""

    def __init__(self, config: PolicyTraining, *, processes: int = 1) -> None:
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

    def memory(self, words: Iterable[str] = (), processes: int | None = None) -> Memory:
        """Of the recipe with overrides."""
        work = workload(self.config.override(tuple(words)), processes or self.processes)
        return training_memory(work, self.sizes(work))

    def changes(self, gpu: int, words: tuple[str, ...] = ()) -> list[Change]:
        """What helps on top of `words`, best first: what leaves the result as it is, and then the smallest memory.

        gpu: bytes. Of micro-batches and of processes, as few as fit, or as many as there can be.
        """
        config, now = self.config.override(words), self.memory(words)
        found = [
            change
            for candidates, same in ((self._splits(config), True), (_recomputing(config), True), (_less(config), False))
            for change in self._tried(candidates, words, gpu, same_result=same)
        ]
        for processes in (2, 4, 8):
            if processes > self.processes and config.loop.micro_batches % processes == 0:
                more = Change(words, processes, self.memory(words, processes), True)
                if more.memory.total <= gpu or processes == 8:
                    found.append(more)
                    break
        better = [change for change in found if change.memory.total < now.total]
        return sorted(better, key=lambda change: (not change.same_result, change.memory.total))

    def together(self, gpu: int) -> Change:
        """Changes on one another, the best first, until all fits on the same processes or nothing helps any more."""
        best = Change((), self.processes, self.memory(), True)
        while best.memory.total > gpu:
            more = [change for change in self.changes(gpu, best.words) if change.processes == self.processes]
            if not more:
                break
            best = more[0]._replace(same_result=best.same_result and more[0].same_result)
        return best

    def _splits(self, config: PolicyTraining) -> list[str]:
        """More micro-batches, fewest first."""
        size, now = config.loop.batch_size, config.loop.micro_batches
        counts = [n for n in range(now + 1, size + 1) if size % n == 0 and n % self.processes == 0]
        return [f"loop.micro_batches={count}" for count in counts]

    def _tried(self, candidates: list[str], words: tuple[str, ...], gpu: int, *, same_result: bool) -> list[Change]:
        tried = []
        for index, word in enumerate(candidates):
            more = (*_without(words, word), word)
            memory = self.memory(more)
            split = word.startswith("loop.micro_batches")
            if not split or memory.total <= gpu or index + 1 == len(candidates):
                tried.append(Change(more, self.processes, memory, same_result))
                if split:
                    break
        return tried


def _without(words: tuple[str, ...], word: str) -> tuple[str, ...]:
    """The overrides but those of the field that `word` sets."""
    return tuple(other for other in words if other.partition("=")[0] != word.partition("=")[0])


def _recomputing(config: PolicyTraining) -> list[str]:
    return [] if config.recompute else ["recompute=true"]


def _less(config: PolicyTraining) -> list[str]:
    """Overrides that train less than the recipe says."""
    nano = isinstance(config.model.backbone, NanoBackboneConfig)
    text = "text.layers" if nano else "language_model.layers"
    found = []
    # Freezing would leave nothing to patterns that name matrices for Muon.
    if config.lora is None and not config.loop.optim.muon:
        found.append("lora=" + json.dumps({"rank": 16, "alpha": 32, "targets": [text]}))
        vision = "backbone[.]stem" if nano else "backbone[.]model[.]visual"
        # The words stay trained: the meta-queries are among them.
        for pattern in (f"{text.replace('.', '[.]')}|{vision}", vision, "world_expert[.]"):
            if pattern not in config.loop.optim.freeze:
                found.append("loop.optim.freeze=" + json.dumps([*config.loop.optim.freeze, pattern]))
    samples = config.loop.batch_size // config.loop.micro_batches
    if samples > 1 and config.model.world_samples != 1:
        found.append("model.world_samples=1")
    if config.loop.ema is not None:
        found.append("loop.ema=null")
    return found


def preset_training(name: str) -> PolicyTraining:
    """The recipe of a published model, by the name of its preset. ValueError when there is none."""
    known = presets()
    if name not in known:
        raise ValueError(f"{name} is neither a recipe (a .py file) nor a preset; there are {', '.join(known)}")
    preset = known[name]
    # Two batch sizes were published, the larger one for the models that speak.
    return published_training(preset, datasets=(), steps=1, batch_size=448 if preset.prompt.language else 256)


def report(name: str, config: PolicyTraining, *, gpu: float, processes: int) -> str:
    """All that `wla estimate` prints. gpu: GB of one, 10^9 bytes each."""
    estimate = Estimate(config, processes=processes)
    work = workload(config, processes)
    sizes, memory = estimate.sizes(work), estimate.memory()
    fits = memory.total <= gpu * GB
    lines = [*_parameters(name, sizes), "", *_acting(config, work, sizes), "", *_training(config, work, sizes, memory)]
    lines.append(f"{'fits' if fits else 'DOES NOT FIT'} on a GPU of {gpu:g} GB")
    if not fits:
        lines += ["", *_advice(estimate, gpu)]
    return "\n".join(lines)


def _parameters(name: str, sizes: Sizes) -> list[str]:
    parts = sizes.parts()
    whole, trained = (sum(column) for column in zip(*parts.values(), strict=True))
    rows = [*parts.items(), ("total", (whole, trained))]
    head = f"{name:<26}{'parameters':>16}{'trained':>16}{'frozen':>16}"
    return [head, *(f"  {part:<24}{all_:>16,}{ours:>16,}{all_ - ours:>16,}" for part, (all_, ours) in rows)]


def _acting(config: PolicyTraining, work: Workload, sizes: Sizes) -> list[str]:
    acting = acting_memory(work, sizes)
    alone = acting.weights + acting.cache + acting.workspace + RESERVE
    rows = [
        ("weights", acting.weights),
        ("cache of keys and values", acting.cache),
        ("activations of one act", acting.workspace),
        ("all, with CUDA and gaps (allowance)", alone),
        ("World Expert and codec, to imagine", acting.more_weights),
        ("activations of one image", acting.more_workspace),
        ("all, to imagine", alone + acting.more_weights + acting.more_workspace),
    ]
    return [f"acting, {config.dtype}, {work.tokens} tokens, GB", *_rows(rows)]


def _training(config: PolicyTraining, work: Workload, sizes: Sizes, memory: Memory) -> list[str]:
    loop = config.loop
    how = "recomputing activations" if work.recompute else "keeping activations"
    sharing = f"{work.processes} processes ({loop.strategy})" if work.processes > 1 else "one process"
    head = (
        f"training, {sharing}, micro-batches of {work.samples} (batch {loop.batch_size}), "
        f"{work.tokens} tokens a sample, {how}, GB of each process"
    )
    rows = []
    for field in fields(memory):
        value = getattr(memory, field.name)
        if value:
            rows.append((MEANING[field.name], value))
        if field.name == "activations":
            parts, _ = kept_activations(work, sizes, Kernels())
            rows += [(f"  {part}", kept) for part, kept in parts.items() if kept]
    return [head, *_rows([*rows, ("CUDA and gaps (allowance)", RESERVE), ("all", memory.total)])]


def _rows(rows: list[tuple[str, int]]) -> list[str]:
    return [f"  {name:<42}{value / GB:>10.2f}" for name, value in rows]


def _advice(estimate: Estimate, gpu: float) -> list[str]:
    changes = estimate.changes(int(gpu * GB))
    lines = ["what to change, best first, and the GB of each process then"]
    for same, title in ((True, "the result stays the same:"), (False, "trains less:")):
        chosen = [change for change in changes if change.same_result == same]
        lines += [f" {title}"] * bool(chosen) + [_line(change, estimate, gpu) for change in chosen]
    together = estimate.together(int(gpu * GB))
    if len(together.words) > 1:
        lines += [" together:", _line(together, estimate, gpu)]
    if together.memory.total > gpu * GB:
        lines.append(f" nothing known fits {estimate.processes} x {gpu:g} GB; more processes or larger GPUs do")
    return lines


def _line(change: Change, estimate: Estimate, gpu: float) -> str:
    words = [f"'{word}'" if any(letter in word for letter in '[]{}" ') else word for word in change.words]
    words += [f"--processes {change.processes}"] * (change.processes != estimate.processes)
    fits = "fits" if change.memory.total <= gpu * GB else ""
    return f"  {change.memory.total / GB:8.2f}  {fits:<6}{' '.join(words)}"
