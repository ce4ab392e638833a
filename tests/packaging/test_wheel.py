"""The wheel: what it holds, and that it works where nothing else of the project is."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import wla

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # From a copy of the tracked files: a build folder in the checkout would let old modules into the wheel.
    source = folder / "source"
    subprocess.run(["git", "-C", ROOT, "checkout-index", "--all", f"--prefix={source}/"], check=True)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(command, check=True)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "src/wla"], capture_output=True, text=True, check=True)
    tracked = {name.removeprefix("src/") for name in listed.stdout.split()}
    assert tracked <= set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.startswith(f"wla-{wla.__version__}-")


def test_the_wheel_holds_neither_tests_nor_data(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert tops == {"wla", f"wla-{wla.__version__}.dist-info"}


def test_an_installed_wheel_finds_its_recipes_and_bundled_policies(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel], check=True)
    code = """
import sys, wla
from wla.presets import load_recipe
assert wla.__file__.startswith(sys.argv[1])
load_recipe("nano_tabletop")
print(wla.load_policy("nano-tabletop").robot_spec.embodiment)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_python_that_is_named_is_supported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    minors = [line.rsplit("3.", 1)[1] for line in project["classifiers"] if "Python :: 3." in line]
    assert minors == ["11", "12", "13"]
    assert project["requires-python"] == ">=3.11"


@pytest.mark.slow
def test_an_empty_environment_demonstrates_and_trains_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    commands = tmp_path / "venv/bin"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in (
        [commands / "pip", "install", "--quiet", wheel],
        [commands / "wla", "demo"],
        [commands / "wla", "collect", "--tasks", "place", "--episodes", "2", "--out", "datasets/nano_tabletop"],
        [commands / "wla", "train", "nano_codec", "loop.optim.steps=2"],
        [
            commands / "wla",
            "train",
            "nano_tabletop",
            "init.backbone=nano-base",
            "init.grounding=null",
            "loop.optim.steps=2",
        ],
    ):
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
    assert (tmp_path / "outputs/nano_tabletop").is_dir()
