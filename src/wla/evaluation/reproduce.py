"""An evaluation run again from its `summary.json`, and compared with it episode by episode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wla.evaluation.benchmark import run_benchmark
from wla.evaluation.configs import EvalConfig
from wla.evaluation.paired import Key, PairedRow, by_key, paired_row
from wla.evaluation.provenance import scorer_sha256
from wla.evaluation.recorded_run import RecordedEpisode, RecordedRun
from wla.hardware import loaded_hardware
from wla.policy.hub import load_from
from wla.rollout.build import load_shared
from wla.rollout.configs import SCRIPTED, is_address
from wla.rollout.results import EpisodeResult, read_results


@dataclass(frozen=True)
class Reproduction:
    """A second run compared with the recorded one.

    differing: episodes with another outcome or number of steps. row: success of both. surroundings: lines about other
    versions and hardware.
    """

    total: int
    differing: list[tuple[Key, RecordedEpisode, EpisodeResult]]
    row: PairedRow
    surroundings: list[str]


def reproduce(source: Path, recorded: RecordedRun, out: Path, **changes: Any) -> Reproduction:
    """Runs all episodes of a recorded run into `out`, resuming there, and compares them.

    Args:
        source: the recorded run's `summary.json` or folder, for messages.
        recorded: see `wla.evaluation.recorded_run`.
        out: another folder than that of the recorded run.
        changes: fields of `EvalConfig` that may differ here, such as where the checkpoint lies.

    Raises:
        ValueError: as `run_benchmark`, the same folder, or another checkpoint, value model or goal than recorded.
    """
    folder = source if source.is_dir() else source.parent
    if out.resolve() == folder.resolve():
        raise ValueError(f"{out}: holds the results to compare with; choose another --out")
    config = recorded.reproduction.config.replace(**changes)
    _require_same_models(source, recorded, config)
    run_benchmark(config, out, list(recorded.episodes))
    results = by_key(read_results(out / "results.jsonl"))
    return compare_with_recorded(recorded, {key: results[key] for key in recorded.episodes})


def compare_with_recorded(recorded: RecordedRun, results: Mapping[Key, EpisodeResult]) -> Reproduction:
    """Returns the comparison of a recorded run with the same episodes run again."""
    differing = [
        (key, before, results[key])
        for key, before in recorded.episodes.items()
        if (before.outcome, before.steps) != (results[key].outcome, results[key].steps)
    ]
    now = [result.versions for result in results.values()]
    changes = [*_changes(recorded.versions, now), *_changes([recorded.reproduction.hardware], [loaded_hardware()])]
    return Reproduction(len(recorded.episodes), differing, paired_row(None, recorded.episodes, results), changes)


def _require_same_models(source: Path, recorded: RecordedRun, config: EvalConfig) -> None:
    if recorded.checkpoint_sha256 is None or config.policy in SCRIPTED:
        before = recorded.reproduction.config.policy
        if config.policy != before:
            raise ValueError(f"{source}: is an evaluation of {before}; leave out {config.policy}")
    else:
        found = _checkpoint_sha256(config.policy)
        if found != recorded.checkpoint_sha256:
            raise ValueError(
                f"{config.policy}: has sha256 {str(found)[:12]}, and {source} is an evaluation of the checkpoint with "
                f"{recorded.checkpoint_sha256[:12]}; give that one: wla eval CHECKPOINT --reproduce {source}"
            )
    if scorer_sha256(config) != recorded.reproduction.scorer_sha256:
        raise ValueError(
            f"{config.value or config.goal}: has other files than {source} was evaluated with; give those by --value "
            "or --goal"
        )


def _checkpoint_sha256(policy: str) -> str | None:
    """Fingerprint of a checkpoint before it is loaded, or of that which a server says that it has."""
    if is_address(policy):
        server = load_shared(policy)
        return None if server is None else server.checkpoint_sha256
    from wla.policy.checkpoint_files import sha256

    return load_from(policy, sha256)


def _changes(before: Iterable[Mapping[str, str]], now: Iterable[Mapping[str, str]]) -> Iterator[str]:
    """Yields a line for each name whose values differ."""
    old, new = _values(before), _values(now)
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield f"{name}: {_listed(old, name)} -> {_listed(new, name)}"


def _values(sets: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for each in sets:
        for name, value in each.items():
            if value not in values.setdefault(name, []):
                values[name].append(value)
    return values


def _listed(values: Mapping[str, list[str]], name: str) -> str:
    return ", ".join(values.get(name, ())) or "none"
