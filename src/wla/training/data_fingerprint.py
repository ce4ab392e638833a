"""Fingerprints of a run's datasets, by which a resumed run notices that one was replaced at the same path."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wla.config import Config
from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.episode_table import episode_files
from wla.data.lerobot.format import INFO
from wla.files import atomic_write_text, read_json

DATA = "data.json"
"""File of a run: dataset -> fingerprint when it was started."""


def save_fingerprints(out: Path, recipe: Config) -> None:
    """Writes the fingerprints of a recipe's datasets into the folder of its run."""
    atomic_write_text(out / DATA, json.dumps(_fingerprints(recipe), indent=2) + "\n")


def changed_datasets(out: Path, recipe: Config) -> list[str]:
    """Returns the datasets that are not what they were when the run was started; none for a run of an earlier version,
    which has no such file."""
    if not (out / DATA).is_file():
        return []
    before = read_json(out / DATA)
    return [name for name, now in _fingerprints(recipe).items() if before.get(name, now) != now]


def _fingerprints(recipe: Config) -> dict[str, str]:
    named = (DatasetConfig.model_validate(source) for source in getattr(recipe, "datasets", ()))
    return {source.path: _fingerprint(Path(source.path)) for each in named for source in each.expand()}


def _fingerprint(root: Path) -> str:
    """Digest of `info.json` and of the tables of episodes, whose statistics follow from every frame."""
    digest = hashlib.sha256()
    for file in (root / INFO, *episode_files(root)):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
