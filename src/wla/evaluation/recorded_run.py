"""An evaluation as its `summary.json` records it: how it was run, and how each episode ended."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict

from wla.config import Record
from wla.evaluation.paired import Key
from wla.evaluation.provenance import Provenance
from wla.evaluation.summary import SUMMARY
from wla.files import read_json
from wla.rollout.results import TaskVariant
from wla.types import Outcome


class RecordedEpisode(Record):
    """How an episode ended, and after how many control steps."""

    outcome: Outcome
    steps: int


class _Case(Record):
    """A task variant of a summary, with its episodes by seed."""

    model_config = ConfigDict(extra="ignore")

    env: str
    task: str
    setting: str
    embodiment: str
    protocol: str
    episodes: dict[int, RecordedEpisode]

    @property
    def variant(self) -> TaskVariant:
        return TaskVariant(self.env, self.task, self.setting, self.embodiment, self.protocol)


class RecordedRun(Record):
    """The parts of a summary that its evaluation is run again from, and compared with."""

    model_config = ConfigDict(extra="ignore")

    checkpoint_sha256: str | None
    cases: tuple[_Case, ...]
    versions: tuple[dict[str, str], ...]
    """Distinct sets of software versions of the episodes."""
    reproduction: Provenance

    @property
    def episodes(self) -> dict[Key, RecordedEpisode]:
        """The episodes in the order in which they were run."""
        return {(case.variant, seed): episode for case in self.cases for seed, episode in case.episodes.items()}


def read_recorded(path: Path) -> RecordedRun:
    """Returns the run that a `summary.json`, or the folder with it, describes. ValueError where it does not."""
    file = path / SUMMARY if path.is_dir() else path
    tree = read_json(file, missing=f"no such file; give the {SUMMARY} of an evaluation")
    if "reproduction" not in tree:
        raise ValueError(
            f"{file}: does not state how to run it again (it is not the {SUMMARY} of `wla eval`, or of an earlier "
            "version); run that evaluation's command instead, and compare with `wla compare-runs`"
        )
    return RecordedRun.load(file)
