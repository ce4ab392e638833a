"""Videos of an unknown codec or of depth: known on opening, and no obstacle where another camera is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from small_datasets import image
from test_reader import edit_info

from wla.data.dataset_config import DatasetConfig
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.dataset import check
from wla.data.video import codec
from wla.data.window_source import _open_frames


def unknown_codec(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzz9"))


def grey(pix_fmt: str, encoder: str) -> Callable[[Path], None]:
    """A video of one channel, without a word about what it is."""

    def write(path: Path) -> None:
        with av.open(str(path), "w", format="matroska") as container:
            stream = container.add_stream(encoder, rate=10)
            stream.height, stream.width, stream.pix_fmt = 32, 48, pix_fmt
            for _ in range(20):
                frame = av.VideoFrame.from_ndarray(
                    np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 40, format="gray16le"
                )
                container.mux(stream.encode(frame.reformat(format=pix_fmt)))
            container.mux(stream.encode())

    return write


KINDS = {
    "unknown codec": (unknown_codec, "its codec is unknown to FFmpeg here; convert it"),
    "16 bits": (grey("gray16le", "ffv1"), "one channel of 16 bits .* is depth and not colour; state .*is_depth_map"),
    "10 bits": (grey("gray10le", "libx264"), "one channel of 10 bits .* is depth and not colour; state .*is_depth_map"),
}


def videos(root: Path, camera: str) -> list[Path]:
    return sorted(root.glob(f"videos/observation.images.{camera}/*/*.mp4"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("file", [0, -1])
def test_a_camera_that_cannot_be_read_is_named_on_opening_and_the_others_are_read(root, kind, file):
    damage, reason = KINDS[kind]
    damage(videos(root, "wrist")[file])
    dataset = LeRobotDataset(root)
    (note,) = dataset.notes
    assert dataset.readable_cameras == ("front",)
    assert dataset.frames("front").shape == (30, 32, 48, 3)
    with pytest.raises(ValueError, match=rf"images.wrist/.*\.mp4: .*{reason}") as caught:
        dataset.frames("wrist")
    assert note == f"camera 'wrist' is not read: {caught.value}"
    assert "\n" not in note
    (error,) = [issue for issue in check(root) if issue.severity == "error"]
    assert f"{error.message}; {error.fix}" in note.replace(f"{root}/", "")


def test_a_dataset_without_a_camera_that_can_be_read_is_refused_on_opening(root):
    for camera in ("front", "wrist"):
        for path in videos(root, camera):
            unknown_codec(path)
    with pytest.raises(ValueError, match=r"images.front/.*\.mp4: its codec is unknown") as caught:
        LeRobotDataset(root)
    assert "\n" not in str(caught.value)
    errors = [issue for issue in check(root) if issue.severity == "error"]
    assert len(errors) == 2, "one for each camera, whatever the number of its files"
    assert "1 more files" in errors[0].message


def test_training_never_takes_black_images_for_those_that_cannot_be_read(root):
    unknown_codec(videos(root, "wrist")[0])
    dataset, videos_only = LeRobotDataset(root), DatasetConfig(path=str(root), actions=False)
    sides = {"front": [32], "wrist": [32], "none": [32]}
    with pytest.raises(ValueError, match="its codec is unknown"):
        _open_frames(dataset, videos_only, sides, "pad", "front", {camera: camera for camera in sides})


def test_depth_that_is_stated_is_left_alone(root):
    for path in videos(root, "wrist"):
        grey("gray12le", "ffv1")(path)
    edit_info(root, lambda info: info["features"]["observation.images.wrist"]["info"].update(is_depth_map=True))
    (root / "meta/wla_robot.json").unlink()
    assert LeRobotDataset(root).notes == []
    assert [issue.severity for issue in check(root)].count("error") == 0


def test_colours_of_ten_bits_are_colours(tmp_path):
    with av.open(str(tmp_path / "deep.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "5"})
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p10le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image(0, 0))))
        container.mux(stream.encode())
    (seen,) = codec.decode(tmp_path / "deep.mp4")
    assert np.abs(seen.astype(int) - image(0, 0)).mean() < 8
