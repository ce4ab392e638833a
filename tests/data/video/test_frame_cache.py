"""The cache of decoded frames: written once, again when the videos change, and never in part."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_datasets import image

from wla.cli.main import main
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.video import codec, frame_cache
from wla.data.video.video_files import VideoFiles

VIDEO = "videos/observation.images.front/chunk-000/file-000.mp4"


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(self: VideoFiles, path: Path, numbers: list[int]) -> None:
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr(VideoFiles, "read", read)


def test_the_second_use_reads_the_cache(root, monkeypatch):
    first = LeRobotDataset(root).frames("front")
    forbid_decoding(monkeypatch)
    second = LeRobotDataset(root).frames("front")
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable
    np.testing.assert_array_equal(first, second)


def test_a_copied_folder_keeps_its_cache(root, tmp_path, monkeypatch):
    LeRobotDataset(root).frames("front")
    shutil.copytree(root, tmp_path / "copy")  # keeps modification times, as rsync -a does
    forbid_decoding(monkeypatch)
    LeRobotDataset(tmp_path / "copy").frames("front")


def test_changed_video_is_decoded_again(root):
    before = LeRobotDataset(root).frames("front")[0].copy()
    (root / VIDEO).write_bytes(codec.encode([255 - image(0, i) for i in range(20)], Fraction(10)))
    after = LeRobotDataset(root).frames("front")[0]
    assert np.abs(before.astype(int) - after).mean() > 50
    assert len(list((root / ".cache").iterdir())) == 1


def test_touched_video_is_decoded_again(root, monkeypatch):
    LeRobotDataset(root).frames("front")
    os.utime(root / VIDEO, (0, 0))
    forbid_decoding(monkeypatch)
    with pytest.raises(AssertionError, match="decoded again"):
        LeRobotDataset(root).frames("front")


def test_damage_inside_a_video_is_found_and_leaves_no_cache(root):
    data = bytearray((root / VIDEO).read_bytes())
    at = data.index(b"mdat") + 400
    data[at : at + 900] = bytes(900)
    (root / VIDEO).write_bytes(data)
    dataset = LeRobotDataset(root)  # the header is fine
    with pytest.raises(ValueError, match=rf"{VIDEO}: damaged video at frame \d+"):
        dataset.frames("front")
    assert not list((root / ".cache").iterdir())


def test_interrupt_leaves_no_cache(root, monkeypatch):
    def interrupted(self: VideoFiles, path: Path, numbers: list[int]):
        yield image(0, 0)
        raise KeyboardInterrupt

    dataset = LeRobotDataset(root)
    monkeypatch.setattr(VideoFiles, "read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dataset.frames("front")
    assert not list((root / ".cache").iterdir())


def test_full_disk(root, monkeypatch):
    monkeypatch.setattr(frame_cache.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(ValueError, match=r"decoded frames \(0.0 GB needed, 0.0 GB free\); free disk space"):
        LeRobotDataset(root).frames("front")


def test_a_cache_is_announced_and_cleared(root, capsys):
    LeRobotDataset(root).frames("front")
    printed = capsys.readouterr().err
    assert str(root / ".cache") in printed
    assert "30 frames of 48x32, 0.1 MB" in printed
    assert f"`wla data clear-cache {root}`" in printed
    assert main(["data", "clear-cache", str(root)]) == 0
    assert capsys.readouterr().out == f"{root}: 0.1 MB removed\n"
    assert not list((root / ".cache").iterdir())
