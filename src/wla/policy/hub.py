"""Lookup of checkpoints by name: bundled with the package, in a folder, or on the hub.

Finding a name imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from wla.config_errors import nearest, nearest_path
from wla.data.hub_snapshots import may_be_hub_id, snapshot
from wla.run_folder import checkpoint_folder, read_checkpoint

if TYPE_CHECKING:
    from wla.policy.checkpoint import Checkpoint, CheckpointConfig

Content = TypeVar("Content")
CONFIG_FILES = {
    "policy": "config.json",
    "value model": "value.json",
    "inverse dynamics model": "inverse.json",
    "backbone": "base.json",
    "image codec": "codec.json",
    "toy language model": "toy_language.json",
}
"""Kind of a checkpoint -> the file of its folder that only this kind has."""


def bundled(kind: str | None = None) -> dict[str, Path]:
    """Names of the checkpoints that come with the package, and their folders; those of one kind, or all."""
    root = Path(str(resources.files("wla"))) / "bundled"
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return {folder.name: folder for folder in folders if kind in (None, checkpoint_kind(folder))}


def checkpoint_kind(folder: Path) -> str | None:
    """Returns the kind of the checkpoint in a folder, one of `CONFIG_FILES`; None where there is none."""
    return next((kind for kind, file in CONFIG_FILES.items() if (folder / file).is_file()), None)


def find(name: str | Path, what: str = "policy", *, also: Iterable[str] = ()) -> Path | None:
    """Returns the local folder of a checkpoint or another artefact; None for an id that only the hub may know.

    `what` names the artefact in messages; for one of `CONFIG_FILES` the folder must not hold a checkpoint of another
    kind. `also`: other names to suggest. See `may_be_hub_id` for what is never asked of the hub.

    Raises:
        ValueError: no such name or folder, or a checkpoint of another kind.
    """
    known = bundled(what if what in CONFIG_FILES else None)
    folder = local_folder(name)
    if folder.is_dir():
        kind = checkpoint_kind(folder)
        if what in CONFIG_FILES and kind not in (None, what):
            raise ValueError(f"{name} is not a {what} but a {kind}; {_choices(what, known)}")
        return folder
    if may_be_hub_id(name):
        return None
    near = nearest(str(name), [*known, *also]) or nearest_path(folder)
    hint = f"did you mean '{near}'?" if near else _choices(what, known)
    raise ValueError(f"no {what} {str(name)!r}: neither a folder nor a bundled name; {hint}")


def local_folder(name: str | Path) -> Path:
    """Returns the folder of a bundled or local checkpoint; a run stands for its latest one (`wla.run_folder`)."""
    return bundled().get(str(name)) or checkpoint_folder(Path(name))


def resolve(name: str | Path, what: str = "policy") -> Path:
    """Returns the folder of a checkpoint or another artefact, after downloading it from the hub where it is there.

    Raises:
        ValueError: as for `find`, or the hub did not give it.
    """
    folder = find(name, what)
    return snapshot(str(name)) if folder is None else folder


def load_from(name: str | Path, read: Callable[[Path], Content], what: str = "policy") -> Content:
    """Returns `read` of the folder that `resolve` finds, of the next one if a running training has just removed it."""
    return read_checkpoint(lambda: resolve(name, what), read)


def fetch_checkpoint(name: str | Path, *, imagination: bool = True) -> Checkpoint:
    """Returns the checkpoint of a policy by bundled name, folder or hub id. ValueError as for its two steps."""
    from wla.policy.checkpoint import load_checkpoint

    return load_from(name, partial(load_checkpoint, imagination=imagination))


def fetch_config(name: str | Path) -> CheckpointConfig:
    """Returns the configuration of a policy, without its weights. ValueError as for `fetch_checkpoint`."""
    from wla.policy.checkpoint import CheckpointConfig

    return load_from(name, lambda folder: CheckpointConfig.load(folder / CONFIG_FILES["policy"]))


def _choices(what: str, known: dict[str, Path]) -> str:
    if not known:
        return "give the folder that training wrote"
    return f"bundled {'ones are' if len(known) > 1 else 'is'} {', '.join(known)}"
