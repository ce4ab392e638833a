"""Names, paths and texts from files of others, checked before anything is done with them."""

from __future__ import annotations

import errno
import re
import unicodedata
from pathlib import Path
from string import Formatter

MAX_PATH_BYTES = 1024
MAX_SHOWN = 80
"""Characters of a foreign value that a message shows."""
_FORMAT = re.compile(r"(0?[1-9])?d?")
_LFS = b"version https://git-lfs.github.com/spec/"
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories of control characters, lone surrogates and line separators."""


def path_below(root: Path, name: str, source: Path | str) -> Path:
    """The path of a foreign `name` below a folder, where the path itself may be absent.

    source: file that contains the name, for messages. ValueError for a name that leads out of the folder, by itself or
    through a symbolic link, and for one that is not a path. In a snapshot of the Hugging Face cache, links into its own
    blobs are followed.
    """
    wrong = _wrong_name(name)
    if wrong:
        raise ValueError(f"{source}: the path {shown(name)} {wrong}; give one below {root}")
    try:
        target = _resolved(root / name)
    except (OSError, RuntimeError) as error:  # links in a circle
        raise ValueError(f"{source}: the path {shown(name)} cannot be followed ({one_line(error)})") from error
    if not any(target.is_relative_to(folder) for folder in _own_folders(root.resolve())):
        raise ValueError(
            f"{root / name}: leads out of {root} through a symbolic link; put the file itself there in its place"
        )
    return root / name


def _resolved(path: Path) -> Path:
    """The path with its links followed, where it may be absent. OSError for links in a circle."""
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:  # which `resolve` lets pass from Python 3.13 on
            raise
    return path.resolve()


def _wrong_name(name: str) -> str:
    """The reason why a name is not a path below a folder, '' for a good one."""
    path = Path(name)
    if not path.parts:
        return "is empty"
    if invisible(name):
        return "contains a control character"
    if path.is_absolute() or path.drive or ".." in path.parts:
        return "leads out of its folder"
    if len(name.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > 255 for part in path.parts):
        return "is too long"
    return ""


def _own_folders(root: Path) -> list[Path]:
    """Folders whose files belong to `root`: itself and, for a snapshot of the Hugging Face cache, its blobs."""
    snapshots = [folder for folder in (root, *root.parents) if folder.parent.name == "snapshots"]
    return [root, *(folder.parents[1] / "blobs" for folder in snapshots)]


def fill_template(template: str, source: Path | str, **values: int | str) -> str:
    """A path template such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet` with its values.

    ValueError when it is not a template of these values: fields are plain names, and a number has at most 9 digits.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{source}: {shown(template)} is not a path template ({error}); correct it") from error
    text = ""
    for literal, field, spec, conversion in parts:
        text += literal
        if field is None:
            continue
        if field not in values or conversion or not (_FORMAT.fullmatch(spec or "") and _fits(values[field], spec)):
            known = ", ".join(f"{{{name}}}" for name in values)
            raise ValueError(f"{source}: {shown(template)} is not a path template of {known}; correct it")
        text += format(values[field], spec or "")
    return text


def _fits(value: int | str, spec: str | None) -> bool:
    return not spec or isinstance(value, int)


def invisible(text: str) -> bool:
    """True for a text with control characters, line separators or lone surrogates, which no name contains."""
    return any(unicodedata.category(character) in _INVISIBLE for character in text)


def one_line(message: object) -> str:
    """A message of a library, which may have several lines, or of someone else's text, in one line."""
    text = " ".join(str(message).split())
    text = "".join(f"\\x{ord(each):02x}" if unicodedata.category(each) in _INVISIBLE else each for each in text)
    return text if len(text) <= 4 * MAX_SHOWN else f"{text[: 4 * MAX_SHOWN]} ..."


def shown(value: object) -> str:
    """A foreign value as messages show it: in quotes, escaped, in one line, and cut."""
    text = ascii(value) if isinstance(value, str) and invisible(value) else repr(value)
    text = text if isinstance(value, str) else one_line(text)  # arrays have lines
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} ..."


def is_lfs_pointer(path: Path) -> bool:
    """True for the small text that Git leaves in the place of a large file until `git lfs pull`."""
    try:
        with path.open("rb") as file:
            return file.read(len(_LFS)) == _LFS
    except OSError:
        return False


def damaged(path: Path, kind: str, error: object, hint: str = "restore the file") -> ValueError:
    """The error about a file that cannot be read: it is a Git LFS pointer, or damaged.

    kind: of file, e.g. 'parquet'. error: the reason. hint: what to do.
    """
    if is_lfs_pointer(path):
        return ValueError(
            f"{path}: is a Git LFS pointer in the place of the {kind}; run `git lfs pull` where it was cloned, or "
            "download the file itself"
        )
    return ValueError(f"{path}: damaged {kind} ({one_line(error)}); {hint}")
