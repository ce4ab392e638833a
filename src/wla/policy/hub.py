"""Lookup of checkpoints by name: bundled with the package, in a folder, or on the hub."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from wla.policy.checkpoint import Checkpoint, load_checkpoint


def bundled() -> dict[str, Path]:
    """Names of the policies, bases and value models that come with the package, and their folders."""
    root = Path(str(resources.files("wla"))) / "bundled"
    return {folder.name: folder for folder in sorted(root.iterdir())} if root.is_dir() else {}


def resolve(name: str | Path, what: str = "policy") -> Path:
    """Returns the folder of a checkpoint or another artefact; `what` names it in the ValueError if there is none."""
    known = bundled()
    if str(name) in known:
        return known[str(name)]
    folder = Path(name)
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise ValueError(
            f"no {what} {str(name)!r}: neither a folder nor one of the bundled {', '.join(known) or 'none'}"
        )
    try:
        return Path(snapshot_download(str(name)))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(
            f"no folder {str(name)!r}, and the hub did not give it ({type(error).__name__}); check name and network"
        ) from error


def fetch_checkpoint(name: str | Path, *, imagination: bool = True) -> Checkpoint:
    """Returns the checkpoint of a policy by bundled name, folder or hub id. ValueError as for its two steps."""
    return load_checkpoint(resolve(name), imagination=imagination)
