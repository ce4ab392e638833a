"""A mistyped path is never asked of the hub, where somebody else may own that name."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from wla.policy.hub import resolve


@pytest.fixture
def requested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that the hub was asked for, from a folder with a run in it."""
    asked: list[str] = []

    def download(name: str) -> str:
        asked.append(name)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    Path("mine/nano_tabletop/checkpoint").mkdir(parents=True)
    return asked


@pytest.mark.parametrize(
    "name",
    [
        "mine/nano_tabletob",
        "mine/nano_tabletop/checkpont",
        "mine/nano_tabletob/checkpoint",
        "./mine/other",
        "../other",
        "mine/../other",
        "outputs/run",
        "datasets/run",
        "outputs/nano/checkpoint",
        "other",
        "other/run/checkpoint",
        "/nowhere/run",
        "a b/c",
        "name/with?query",
    ],
)
def test_a_path_is_not_a_hub_id(requested, name):
    with pytest.raises(ValueError, match="neither a folder nor a bundled name"):
        resolve(name)
    assert requested == []


def test_a_name_of_two_parts_that_nothing_here_has_is_a_hub_id(requested, tmp_path):
    assert resolve("owner/policy") == tmp_path
    assert requested == ["owner/policy"]


@pytest.mark.parametrize(
    "name", ["mine/nano_tabletop/checkpont", "mine/nano_tabletob/checkpoint", "mien/nano_tabletop/chekpoint"]
)
def test_the_folder_that_was_meant_is_suggested(requested, name):
    with pytest.raises(ValueError, match="did you mean 'mine/nano_tabletop/checkpoint'"):
        resolve(name)
