"""Files of a checkpoint or dataset that are shared on the hub, and those that are taken from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

from wla.data.lerobot.format import INFO, read_info
from wla.policy.hub import CONFIG_FILES, checkpoint_kind, local_folder

Kind = Literal["model", "dataset"]
CARD = "README.md"
CHECKPOINT_PATTERNS = ("*.json", "*.safetensors", CARD, "LICENSE*")
DATASET_FOLDERS = ("meta", "data", "videos", "images")
DATASET_SUFFIXES = frozenset({".json", ".jsonl", ".parquet", ".mp4", ".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class SharedFolder:
    """A checkpoint or dataset. what: its kind in words. files: paths of what belongs to it, relative to root."""

    kind: Kind
    what: str
    root: Path
    files: tuple[str, ...]


def find_shared(source: str | Path) -> SharedFolder:
    """Returns the checkpoint (a run stands for its latest one) or dataset of a name or folder.

    ValueError where it is neither, or one that cannot be read.
    """
    if (Path(source) / INFO).is_file():
        read_info(Path(source))
        return _shared("dataset", "dataset", Path(source))
    folder = local_folder(source)
    what = checkpoint_kind(folder) if folder.is_dir() else None
    if what is None:
        raise ValueError(
            f"{source}: neither a checkpoint ({', '.join(CONFIG_FILES.values())}) nor a dataset ({INFO}); give the "
            "folder that training or `wla collect` wrote"
        )
    return _shared("model", what, folder)


def belongs(kind: Kind, path: str) -> bool:
    """Whether a path is that of a file of a checkpoint or dataset: nothing hidden (caches, locks, backups), no training
    state, no code, nothing outside the folder."""
    parts = PurePosixPath(path).parts
    if not parts or "\\" in path or any(part.startswith((".", "/")) for part in parts):
        return False
    if len(parts) == 1:
        patterns = CHECKPOINT_PATTERNS if kind == "model" else (CARD, "LICENSE*")
        return any(fnmatch(path, pattern) for pattern in patterns)
    return kind == "dataset" and parts[0] in DATASET_FOLDERS and PurePosixPath(path).suffix in DATASET_SUFFIXES


def _shared(kind: Kind, what: str, root: Path) -> SharedFolder:
    files = (path.relative_to(root).as_posix() for path in _files(root))
    return SharedFolder(kind, what, root, tuple(sorted(file for file in files if belongs(kind, file))))


def _files(root: Path) -> Iterable[Path]:
    return (path for path in root.rglob("*") if path.is_file())
