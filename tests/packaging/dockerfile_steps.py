"""Runs the steps of a Dockerfile in a folder that is a root file system, for machines without a Docker engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MACHINE = ("etc/apt", "etc/hosts", "etc/resolv.conf", "etc/pip.conf", "etc/xdg/pip")
"""Settings of this machine that reach its package registries, below the root."""
CERTIFICATES = "opt/certificates.crt"
"""The certificates that this machine trusts, where installing Debian's own does not replace them."""


def steps(dockerfile: str) -> Iterator[tuple[str, str]]:
    """Yields the name and the arguments of each instruction, continued lines joined, comments left out."""
    lines = "\n".join(line for line in dockerfile.splitlines() if not line.startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, arguments = line.split(maxsplit=1)
            yield name, arguments.strip()


def make_root(root: Path) -> None:
    """Fills `root` with a minimal Debian and this machine's settings of apt and pip. Needs root and debootstrap."""
    subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, stdout=subprocess.DEVNULL)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    for name in MACHINE:
        source = Path("/", name)
        if source.is_dir():
            shutil.copytree(source, root / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy(source, root / name)
    trusted = ssl.get_default_verify_paths()
    shutil.copy(trusted.cafile or trusted.openssl_cafile, root / CERTIFICATES)
    for folder in local_wheels():
        shutil.copytree(folder, root / folder.relative_to("/"), dirs_exist_ok=True)


def local_wheels() -> list[Path]:
    """Returns the folders of this machine that pip takes packages from."""
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    found = (Path(path) for path in re.findall(r"find-links='(/[^']*)'", listed))
    return sorted({path for path in found if path.is_dir()})


class Image(NamedTuple):
    """What the steps of a Dockerfile left: a root file system, its variables, and how a container of it starts."""

    root: Path
    variables: dict[str, str]
    folder: str
    entrypoint: tuple[str, ...]

    def run(self, *arguments: str) -> None:
        """Starts what a container would: the entry point, in the working folder. CalledProcessError where it fails."""
        _run(self.root, self.variables, self.folder, shlex.join([*self.entrypoint, *arguments]))


def build_image(dockerfile: Path, root: Path, context: Path) -> Image:
    """Runs the instructions of a Dockerfile in `root`. CalledProcessError where a RUN fails."""
    variables = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
    machine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    machine["PIP_CERT"] = f"/{CERTIFICATES}"
    folder = "/"
    entrypoint: tuple[str, ...] = ()
    for name, arguments in steps(dockerfile.read_text("utf-8")):
        match name:
            case "ENV" | "ARG":
                for key, has_value, value in (pair.partition("=") for pair in arguments.split()):
                    if has_value:
                        variables[key] = value.replace("$PATH", variables["PATH"])
            case "COPY":
                source, target = arguments.split()
                shutil.copytree(context / source, root / target.lstrip("/"), dirs_exist_ok=True)
            case "WORKDIR":
                folder = arguments
                (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "RUN":
                _run(root, variables | machine, folder, arguments)
            case "ENTRYPOINT":
                entrypoint = tuple(json.loads(arguments))
            case "FROM":
                pass
            case _:
                raise ValueError(f"{dockerfile}: {name} is not an instruction that the test runs")
    return Image(root, variables, folder, entrypoint)


def _run(root: Path, variables: dict[str, str], folder: str, command: str) -> None:
    # The command sees the image's PATH; chroot itself may lie elsewhere.
    chroot = [shutil.which("chroot") or "chroot", root]
    subprocess.run([*chroot, "/bin/sh", "-c", f"cd {folder} && {command}"], env=variables, check=True)


def copy_context(repository: Path, target: Path) -> None:
    """Copies what `.dockerignore` lets through: its exceptions ("!name") from "everything"."""
    rules = (repository / ".dockerignore").read_text("utf-8").split()
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        source = repository / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, target / name)
