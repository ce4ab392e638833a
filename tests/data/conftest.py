"""A dataset that tests may damage: written once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_datasets import write_dataset


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("pristine") / "d")


@pytest.fixture
def root(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "d"))
