"""Folders of the Hugging Face hub's cache, through `huggingface_hub`, whose settings (`HF_HOME`, log-in) hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
OWN_FOLDERS = frozenset({"outputs", "datasets", "checkpoints", "runs"})
"""Folders of runs and data: a name that begins with one is a path, wherever the command was started."""
DATASET_FILES = ("meta/*", "data/*", "videos/*", "images/*")
"""Patterns of the files of a LeRobot dataset; nothing else of a repository is downloaded."""


def may_be_hub_id(name: str | Path) -> bool:
    """True for OWNER/NAME where no such folder is.

    A name below a folder that exists, or below one of `OWN_FOLDERS`, is never a hub id: a mistyped path must not bring
    the files of a stranger.
    """
    path = Path(name)
    named = HUB_ID.fullmatch(str(name)) and path.parts[0] not in OWN_FOLDERS
    return bool(named) and not path.exists() and not path.parent.is_dir()


def snapshot(name: str, **options: Any) -> Path:
    """The folder of a repository in the cache, downloaded where it is not there, or is not the newest.

    options: of `huggingface_hub.snapshot_download`. ValueError when the hub does not give it.
    """
    # Imported here, because a local folder needs none of it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, **options))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"no folder {name!r}, and the hub did not give it ({type(error).__name__}); check name and network"
        ) from error


def dataset_folder(name: str | Path) -> Path:
    """The folder of a dataset: itself, or the copy in the hub's cache of an id that no folder has.

    ValueError when the hub does not give it.
    """
    if not may_be_hub_id(name):
        return Path(name)
    return snapshot(str(name), repo_type="dataset", allow_patterns=list(DATASET_FILES))


def dataset_name(folder: Path) -> str:
    """The name of a dataset: its folder's, or its repository's for a copy in the hub's cache."""
    folder = folder.resolve()
    owned = folder.parent.name == "snapshots"
    return folder.parents[1].name.rpartition("--")[2] if owned else folder.name
