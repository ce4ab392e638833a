"""Images and videos come as they are displayed: turned, mirrored, with the shape of their pixels; depth is refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_datasets import image, psnr
from test_reader import VIDEO, edit_info, feature
from test_video_times import OWN, write_video

from wla.compat.videos import CAMERA, convert_videos
from wla.data.images import decode_image
from wla.data.lerobot.reader import LeRobotDataset
from wla.data.validation.dataset import check
from wla.data.video import codec
from wla.data.video.orientation import upright

STORED = {
    "turned right": ((0, 1, -1, 0), lambda shown: np.rot90(shown, 1)),
    "turned left": ((0, -1, 1, 0), lambda shown: np.rot90(shown, -1)),
    "upside down": ((-1, 0, 0, -1), lambda shown: shown[::-1, ::-1]),
    "mirrored": ((-1, 0, 0, 1), lambda shown: shown[:, ::-1]),
    "transposed": ((0, 1, 1, 0), lambda shown: shown.transpose(1, 0, 2)),
}
"""Matrix in the header (a, b, c, d: right points to (a, b), down to (c, d)), and how a displayed image is stored."""


def state_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Writes the matrix into the header of an mp4, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 4 + (32 if data[at] else 20) + 16
    a, b, c, d = (number << 16 for number in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", STORED)
def test_a_video_is_displayed_as_it_states(root, name):
    matrix, store = STORED[name]
    write_video(root / VIDEO, [np.ascontiguousarray(store(shown)) for shown in OWN])
    state_matrix(root / VIDEO, matrix)
    dataset = LeRobotDataset(root)
    order = np.array([12, 3, 19])
    for shown in (dataset.frames("front")[order], dataset.random_access_frames("front")[order]):
        assert all(psnr(ours, OWN[index]) > 30 for ours, index in zip(shown, order, strict=True))
    assert check(root) == []


def test_a_video_that_lies_on_its_side_without_saying_so_is_refused(root):
    write_video(root / VIDEO, [np.ascontiguousarray(np.rot90(shown)) for shown in OWN])
    with pytest.raises(ValueError, match=f"{VIDEO}: frame 0 is 48x32, meta/info.json has 32x48"):
        LeRobotDataset(root).frames("front")


def test_the_matrix_of_a_turn_by_any_angle_counts_as_the_nearest_quarter():
    shown = image(0, 0)
    turned = upright(shown, np.array([[0.2, -0.98], [0.98, 0.2]]))
    np.testing.assert_array_equal(turned, np.rot90(shown, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_states(orientation):
    shown = Image.fromarray(image(0, 0))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that takes a displayed image to a stored one
    stored = shown if orientation == 1 else shown.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        stored.save(file, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
        assert psnr(decode_image(file.getvalue(), size=(32, 48)), image(0, 0)) > 30


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_depth_is_not_squeezed_into_eight_bits(kind):
    file = io.BytesIO()
    Image.fromarray(np.arange(32 * 48, dtype=kind).reshape(32, 48)).save(file, "TIFF" if kind == np.int32 else "PNG")
    with pytest.raises(ValueError, match="one channel of more than 8 bits"):
        decode_image(file.getvalue(), size=(32, 48))


def test_gray_images_of_eight_bits_are_colour_images_without_colour():
    file = io.BytesIO()
    Image.fromarray(image(0, 0)[..., 0]).save(file, "PNG")
    np.testing.assert_array_equal(decode_image(file.getvalue()), image(0, 0)[..., :1].repeat(3, 2))


def test_a_depth_camera_that_nobody_asks_for_is_left_alone(root):
    (root / "meta/wla_robot.json").unlink()
    edit_info(root, feature("observation.images.wrist", shape=[32, 48, 1]))
    dataset = LeRobotDataset(root)
    assert list(dataset.cameras) == ["front"]
    dataset.frames("front")
    with pytest.raises(ValueError, match=r"only colour images can be read, not those of 'wrist'"):
        dataset.frames("wrist")
    assert [issue.severity for issue in check(root)].count("error") == 0


def test_pixels_that_are_wider_than_high_are_displayed_so(tmp_path):
    (tmp_path / "in").mkdir()
    white = np.full((64, 32, 3), 255, np.uint8)
    write_video(tmp_path / "in" / "go.mp4", [white] * 10, options={"x264-params": "sar=2/1"})
    convert_videos(tmp_path / "in", tmp_path / "out", fps=10.0, side=32)
    assert LeRobotDataset(tmp_path / "out").frames(CAMERA)[0].min() > 200  # 64 x 64 as displayed: no black margins
    assert next(codec.decode_timed(tmp_path / "in" / "go.mp4")).pixel_aspect == 2
