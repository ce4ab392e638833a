"""Checks of `wla doctor`: the state of this machine, and for each missing requirement the command that installs it."""

from __future__ import annotations

import importlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from wla import __version__
from wla.doctor.finding import Finding
from wla.hardware import cores, memory_gib

# libopengl0: PyOpenGL loads GL functions from it, and neither of the others depends on it.
GL_PACKAGES = ("libegl1", "libopengl0", "libgl1-mesa-dri")
RENDER_SECONDS = 120
DEVELOPMENT_EXTRAS = {"dev", "docs"}


def run(fix: bool = False) -> int:
    """Prints the state of this machine; returns the exit status, 0 when every requirement is met and 1 otherwise.

    fix: install the GL library through apt-get where that is permitted; nothing else is changed.
    """
    console = Console()
    with ThreadPoolExecutor() as pool:  # torch is imported while another process renders
        rendering, machine = pool.submit(gl_finding), list(machine_findings())
        gl = rendering.result()
    if fix and not gl.ok and (install := gl_install()) is not None:
        console.print("Installing the GL library:", escape(shlex.join(install)))
        _apt(install)
        gl = gl_finding()
    findings = [
        *(wla_finding(), python_finding(), *package_findings(), gl, video_finding()),
        *extra_findings(),
        *machine,
    ]
    console.print(_table(findings))
    missing = [finding for finding in findings if finding.ok is False]
    if missing:
        console.print("[bold]To get what is missing:[/bold]")
        for command in dict.fromkeys(finding.fix for finding in missing):
            console.print(f"  {escape(command)}", soft_wrap=True)
    return 1 if missing else 0


def wla_finding() -> Finding:
    """Finding for this package: version and folder, to be named in a bug report."""
    return Finding("wla", f"{__version__} in {Path(__file__).parents[1]}", None)


def python_finding() -> Finding:
    """Finding for the Python version, against the package's bound."""
    bound = metadata.metadata("wla")["Requires-Python"]
    version = platform.python_version()
    ok = SpecifierSet(bound).contains(version, prereleases=True)
    return Finding(f"python {bound}", version, ok, "" if ok else "apt-get install -y python3 python3-venv")


def package_findings() -> Iterator[Finding]:
    """Findings for every dependency, without the extras, against the bounds in pyproject.toml."""
    for line in metadata.requires("wla") or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield package_finding(requirement)


def package_finding(requirement: Requirement) -> Finding:
    """Finding for one dependency: installed, and in a version within its bounds."""
    command = _pip_install(requirement)
    name = f"{requirement.name} {requirement.specifier}".strip()
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed", False, command)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(name, version, False, command)
    return Finding(name, version, True)


def extra_findings() -> Iterator[Finding]:
    """Findings for what only some commands need: present, or the command that installs it."""
    distribution = metadata.metadata("wla")
    for extra in sorted({*(distribution.get_all("Provides-Extra") or ())} - DEVELOPMENT_EXTRAS):
        for line in metadata.requires("wla") or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.marker.evaluate({"extra": extra}):
                finding = package_finding(requirement)
                found = finding.found if finding.ok else f"{finding.found}; {_pip_install(requirement)}"
                yield Finding(f"optional ({extra}): {requirement.name}", found, None)


def gl_finding() -> Finding:
    """Finding for rendering: one frame of MuJoCo, in a separate process, because a broken driver may crash it."""
    command = [sys.executable, "-c", "from wla.doctor.machine import render_once; print(render_once())"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=RENDER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding("rendering", f"no frame within {RENDER_SECONDS} s", False, _gl_fix())
    if process.returncode == 0:
        return Finding("rendering", process.stdout.strip(), True)
    if process.returncode < 0:
        return Finding("rendering", f"crashed with signal {-process.returncode}", False, _gl_fix())
    return Finding("rendering", (process.stderr.strip().splitlines() or ["failed"])[-1], False, _gl_fix())


def render_once() -> str:
    """Renders a small frame with MuJoCo; returns the renderer's name. Errors of the renderer pass through."""
    from wla.gl import prepare_gl

    backend = prepare_gl() or "MuJoCo's own choice"
    import mujoco

    model = mujoco.MjModel.from_xml_string(
        "<mujoco><worldbody><light pos='0 0 2'/><geom size='.1'/></worldbody></mujoco>"
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 32, 32) as renderer:
        renderer.update_scene(data)
        if not renderer.render().any():
            raise RuntimeError(f"{backend} renders only black frames")
    return backend


def gl_install() -> list[str] | None:
    """The command that installs the GL library, or None when this process may not run it."""
    if shutil.which("apt-get") is None or os.environ.get("MUJOCO_GL"):
        return None
    if os.geteuid() == 0:
        return _apt_install()
    sudo = shutil.which("sudo")
    if sudo and subprocess.run([sudo, "-n", "true"], capture_output=True, check=False).returncode == 0:
        return [sudo, "-n", *_apt_install()]
    return None


def video_finding() -> Finding:
    """Finding for PyAV's H.264 encoder, which writes datasets."""
    try:
        av = importlib.import_module("av")
        av.codec.Codec("libx264", "w")
    except (ImportError, ValueError) as error:
        # PyAV's UnknownCodecError is a ValueError.
        command = shlex.join([sys.executable, "-m", "pip", "install", "--force-reinstall", "--only-binary", "av", "av"])
        return Finding("video (libx264)", str(error), False, command)
    return Finding("video (libx264)", f"ffmpeg {av.ffmpeg_version_info}", True)


def machine_findings() -> Iterator[Finding]:
    """Findings for information only: cores, memory, disk, GPU."""
    yield Finding("cores", str(cores()), None)
    yield Finding("memory", f"{memory_gib():.1f} GiB", None)
    yield Finding("disk", f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB free", None)
    yield Finding("gpu", _gpus(), None)


def _gpus() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        # OSError: a CUDA library that torch needs does not load.
        return f"unknown, torch does not import: {error}"
    return ", ".join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or "none (the CPU is used)"


def _pip_install(requirement: Requirement) -> str:
    # Names the package, because `wla[extra]` can be installed only where an index has wla.
    return shlex.join([sys.executable, "-m", "pip", "install", f"{requirement.name}{requirement.specifier}"])


def _apt_install() -> list[str]:
    return ["apt-get", "install", "--yes", "--no-install-recommends", *GL_PACKAGES]


def _apt(install: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    prefix = install[: install.index("apt-get")]
    # A failed update (one unreachable source is enough) does not matter when the install works; the next check decides.
    subprocess.run([*prefix, "apt-get", "update"], env=environment, check=False)
    subprocess.run(install, env=environment, check=False)


def _gl_fix() -> str:
    if os.environ.get("MUJOCO_GL"):
        return "unset MUJOCO_GL"
    if shutil.which("apt-get") is None:
        return "install Mesa's EGL library (libEGL.so.1 and its software driver) with your system's package manager"
    sudo = "" if os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get update; {sudo}{shlex.join(_apt_install())}"


def _table(findings: list[Finding]) -> Table:
    table = Table("", "needed", "found")
    for finding in findings:
        mark = {True: "[green]ok[/green]", False: "[red]missing[/red]", None: ""}[finding.ok]
        table.add_row(mark, escape(finding.name), escape(finding.found))
    return table
