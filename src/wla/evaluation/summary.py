"""The rates of a folder of episodes, and what has to be the same for episodes to share one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from wla.config import Config
from wla.control.latency import TimingConfig
from wla.envs.registry import DEFAULT_PROTOCOL
from wla.evaluation.group_rates import GroupRates, group_rates
from wla.evaluation.provenance import Provenance
from wla.evaluation.subtask_rates import SubtaskRates, subtask_rates
from wla.evaluation.timing_rates import TimingRates, timing_rates
from wla.files import atomic_write_text
from wla.rollout.configs import BestOfNConfig, MemoryInterventionKind
from wla.rollout.results import EpisodeResult, Rate, TaskVariant, held_rate, read_results, success_rate

SUMMARY = "summary.json"
RULE = "rate = successes / (successes + failures); errors are crashes, counted apart and run again on resume"


class Identity(Config):
    """What has to be the same for episodes to share one folder (``run.json``)."""

    policy: str
    checkpoint_sha256: str | None
    replan_steps: int | None = Field(ge=1)
    flow_steps: int | None = Field(default=None, ge=1)
    action_noise: float | None = Field(default=None, ge=0)
    protocol: str = DEFAULT_PROTOCOL
    memory_intervention: MemoryInterventionKind | None = None
    best_of_n: BestOfNConfig | None = None
    timing: TimingConfig | None = None


@dataclass(frozen=True)
class Summary:
    """All episodes of a folder, per case and together. results: the episodes, in the order in which they ended."""

    policy: str
    checkpoint_sha256: str | None
    protocol: str
    variants: tuple[tuple[TaskVariant, Rate], ...]
    total: Rate
    subtask_metrics: tuple[SubtaskRates | None, ...]
    """Of each case."""
    timing: tuple[TimingRates | None, ...]
    """Of each case; None without a latency."""
    held: tuple[Rate | None, ...]
    """Of each case, and of all episodes at the end; None where the environment does not state it."""
    groups: GroupRates | None
    """Where all groups were evaluated over which the benchmark's papers average."""
    results: tuple[EpisodeResult, ...]

    def save(self, path: Path, reproduction: Provenance | None = None) -> None:
        """Writes the summary. reproduction: how to run the evaluation again."""
        tree = {
            "policy": self.policy,
            "checkpoint_sha256": self.checkpoint_sha256,
            "protocol": self.protocol,
            "rule": RULE,
            "cases": [
                asdict(variant)
                | _rate_fields(rate)
                | {"subtask_metrics": None if subtask_metrics is None else asdict(subtask_metrics)}
                | {"timing": None if timing is None else asdict(timing)}
                | _held_fields(held)
                | {"episodes": self._episodes(variant)}
                for (variant, rate), subtask_metrics, timing, held in zip(
                    self.variants, self.subtask_metrics, self.timing, self.held[:-1], strict=True
                )
            ],
            "all": _rate_fields(self.total) | _held_fields(self.held[-1]),
            "versions": version_sets(self.results),
        }
        if self.groups is not None:
            tree["groups"] = {name: _rate_fields(rate) for name, rate in self.groups.rates}
            tree["mean_over_groups"] = asdict(self.groups.mean)
        if reproduction is not None:
            tree["reproduction"] = reproduction.model_dump(mode="json")
        atomic_write_text(path, json.dumps(tree, indent=2) + "\n")

    def _episodes(self, variant: TaskVariant) -> dict[str, dict[str, str | int]]:
        return {str(r.seed): {"outcome": r.outcome, "steps": r.steps} for r in self.results if r.variant == variant}


def _rate_fields(rate: Rate) -> dict[str, int | float | str | None]:
    return {
        **{name: getattr(rate, name) for name in ("n", "successes", "errors", "rate", "low", "high")},
        "interval": rate.interval and rate.interval.label,
    }


def _held_fields(held: Rate | None) -> dict[str, Any]:
    return {} if held is None else {"held": _rate_fields(held)}


def summarise(results: Sequence[EpisodeResult], identity: Identity) -> Summary:
    variants = dict.fromkeys(result.variant for result in results)
    rates = tuple((variant, success_rate(r for r in results if r.variant == variant)) for variant in variants)
    subtask_metrics = tuple(
        subtask_rates(r.subtask_metrics for r in results if r.variant == variant) for variant in variants
    )
    return Summary(
        policy=identity.policy,
        checkpoint_sha256=identity.checkpoint_sha256,
        protocol=identity.protocol,
        variants=rates,
        total=success_rate(results),
        subtask_metrics=subtask_metrics,
        timing=tuple(timing_rates(r for r in results if r.variant == variant) for variant in variants),
        held=(*(held_rate(r for r in results if r.variant == variant) for variant in variants), held_rate(results)),
        groups=group_rates(results),
        results=tuple(results),
    )


def load_summary(out: Path) -> Summary:
    """The summary of a folder's results as they are now. FileNotFoundError when the folder holds none."""
    if not (out / "run.json").exists():
        raise FileNotFoundError(f"{out} holds no evaluation: run.json is missing")
    return summarise(read_results(out / "results.jsonl"), Identity.load(out / "run.json"))


def version_sets(results: Iterable[EpisodeResult]) -> list[dict[str, str]]:
    """Distinct sets of software versions among the results: with more than one, numbers may not be comparable."""
    return list({tuple(sorted(r.versions.items())): r.versions for r in results}.values())


def describe(identity: Identity) -> str:
    sha = f" sha256 {identity.checkpoint_sha256[:12]}" if identity.checkpoint_sha256 else ""
    fault = f", memory {identity.memory_intervention}" if identity.memory_intervention else ""
    best_of_n = identity.best_of_n
    selection = ""
    if best_of_n is not None:
        scorer = f"value {best_of_n.value}" if best_of_n.goal is None else f"goal {best_of_n.goal}"
        kind = "" if best_of_n.action_conditioning else "not action-conditioned, "
        how = "consensus" if best_of_n.consensus else f"{kind}horizon {best_of_n.imagination_horizon}, {scorer}"
        selection = f", {best_of_n.num_candidates} candidates, {how}"
    delay = f", {identity.timing.chunking} behind {identity.timing.latency.latency_ms:g} ms" if identity.timing else ""
    protocol = "" if identity.protocol == DEFAULT_PROTOCOL else f", protocol {identity.protocol}"
    steps = "" if identity.flow_steps is None else f", {identity.flow_steps} flow steps"
    noise = "" if identity.action_noise is None else f", action noise {identity.action_noise:g}"
    parts = f"{steps}{noise}{protocol}{fault}{selection}{delay}"
    return f"policy {identity.policy}{sha}, replan_steps {identity.replan_steps or 'unset'}{parts}"


def require_same_run(out: Path, identity: Identity) -> None:
    """ValueError when a folder holds results of another run."""
    before = Identity.load(out / "run.json")
    same_policy = before.checkpoint_sha256 == identity.checkpoint_sha256
    if identity.checkpoint_sha256 is None:
        same_policy &= before.policy == identity.policy
    named = {"policy": identity.policy, "checkpoint_sha256": identity.checkpoint_sha256}
    if not same_policy or before.replace(**named) != identity:
        raise ValueError(
            f"{out} holds results of another run ({describe(before)}); this one is {describe(identity)}: "
            "use another --out folder"
        )
