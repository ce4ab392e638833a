"""Checkpoints and datasets to the hub and from it, through `huggingface_hub`, whose settings and log-in hold.

A token is never part of a message, and errors of the library are raised without their causes, whose requests hold it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from glob import escape
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

from wla import __version__
from wla.compat.hub_files import CARD, Kind, SharedFolder, belongs, find_shared
from wla.data.hub_snapshots import HUB_ID
from wla.files import atomic_dir, disk_errors

AnswerT = TypeVar("AnswerT")
TOKEN = re.compile(r"hf_\w+|Bearer\s+\S+", re.IGNORECASE)
MAX_NAMED = 5
"""Files that a message names."""


@dataclass(frozen=True)
class Pushed:
    """What a push has done. uploaded, removed: paths in the repository; both empty where it was there already."""

    url: str
    uploaded: tuple[str, ...]
    removed: tuple[str, ...]


def push(shared: SharedFolder, target: str, card: str, *, private: bool = False, overwrite: bool = False) -> Pushed:
    """Uploads a checkpoint or dataset in one commit, creating the repository where there is none.

    Args:
        shared: what to upload.
        target: id of the repository, OWNER/NAME.
        card: its README.md.
        private: create a private repository; otherwise as the hub does for this owner.
        overwrite: replace other files of a checkpoint or dataset there, and remove those that are no longer part of it.

    Raises:
        ValueError: no such id, a repository with other files, a public one where a private one is asked for, or the hub
            did not take it.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    _require_id(target)
    api, kind = HfApi(), shared.kind
    content: dict[str, Path | bytes] = {file: shared.root / file for file in shared.files} | {CARD: card.encode()}
    url = _ask(target, lambda: api.create_repo(target, repo_type=kind, private=private or None, exist_ok=True))
    info: Any = _ask(target, lambda: api.repo_info(target, repo_type=kind, files_metadata=True))
    if private and not info.private:
        raise ValueError(f"{target}: is there already, and public; make it private on the hub, or leave out --private")
    theirs = {each.rfilename: each for each in info.siblings or ()}
    changed = [path for path in content if path in theirs and not _same(content[path], theirs[path])]
    left = [path for path in theirs if path not in content and belongs(kind, path)]
    if (changed or left) and not overwrite:
        raise ValueError(f"{target}: holds other files ({_named([*changed, *left])}); add --yes to replace them")
    new = [path for path in content if path not in theirs or path in changed]
    if new or left:
        operations: list[Any] = [CommitOperationAdd(path, content[path]) for path in new]
        operations += [CommitOperationDelete(path) for path in left]
        message = f"{shared.what[0].upper()}{shared.what[1:]}, uploaded by wla {__version__}"
        # parent_commit: what somebody has pushed since the comparison is not overwritten.
        options: dict[str, Any] = {"commit_message": message, "repo_type": kind, "parent_commit": info.sha}
        _ask(target, lambda: api.create_commit(target, operations, **options))
    return Pushed(str(url), tuple(new), tuple(left))


def pull(source: str, out: Path) -> SharedFolder:
    """Downloads a checkpoint or dataset into a new folder, whole or not at all, and nothing else of its repository.

    ValueError when `out` exists, there is no such repository, or it holds neither.
    """
    from huggingface_hub import HfApi, snapshot_download

    _require_id(source)
    if out.exists():
        raise ValueError(f"{out}: exists already; choose another --out")
    api = HfApi()
    kind, info = _repository(api, source)
    files = [each.rfilename for each in info.siblings or () if belongs(kind, each.rfilename)]
    with disk_errors(out, "free disk space or choose another --out"), atomic_dir(out) as fresh:
        patterns = [escape(file) for file in files]
        arguments = {"repo_type": kind, "revision": info.sha, "local_dir": fresh, "allow_patterns": patterns}
        _ask(source, lambda: snapshot_download(source, **arguments))
        shutil.rmtree(fresh / ".cache", ignore_errors=True)
        try:
            find_shared(fresh)
        except ValueError as error:
            raise ValueError(f"{source}: holds neither a checkpoint nor a dataset of wla or LeRobot v3.0") from error
    return find_shared(out)


def _repository(api: Any, source: str) -> tuple[Kind, Any]:
    """The repository of this id: of a model, or else of a dataset."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return "model", api.repo_info(source, repo_type="model")
    except RepositoryNotFoundError:
        return "dataset", _ask(source, lambda: api.repo_info(source, repo_type="dataset"))
    except Exception as error:  # noqa: BLE001 - see _ask
        raise _refused(source, error) from None


def _ask(target: str, call: Callable[[], AnswerT]) -> AnswerT:
    """The answer of the hub. ValueError where it gives none; the library's errors have no common base."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - the library's errors have no common base
        raise _refused(target, error) from None


def _refused(target: str, error: Exception) -> ValueError:
    lines = [line.strip() for line in TOKEN.sub("***", str(error)).splitlines() if line.strip()]
    status = getattr(getattr(error, "response", None), "status_code", None)
    about = f"status {status}: {lines[-1]}" if status is not None and lines else (lines or [type(error).__name__])[0]
    hint = "log in with `hf auth login`, or check the name" if status in (401, 403, 404) else "check name and network"
    return ValueError(f"{target}: the hub did not take part ({about}); {hint}")


def _require_id(name: str) -> None:
    if not HUB_ID.fullmatch(name):
        raise ValueError(f"{name!r}: is not an id on the hub; give OWNER/NAME")


def _same(ours: Path | bytes, theirs: Any) -> bool:
    """Whether a file of the hub has this content: Git's hash of a file, or that of Git LFS for a large one."""
    size = len(ours) if isinstance(ours, bytes) else ours.stat().st_size
    large = theirs.lfs is not None
    digest = hashlib.sha256() if large else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with BytesIO(ours) if isinstance(ours, bytes) else ours.open("rb") as file:
        while block := file.read(2**24):
            digest.update(block)
    return bool(digest.hexdigest() == (theirs.lfs.sha256 if large else theirs.blob_id))


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
    return ", ".join(paths[:MAX_NAMED]) + more
