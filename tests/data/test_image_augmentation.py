"""Random crops and colours of training images."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from pydantic import ValidationError
from test_loader import make_sampler, sample_batch

from wla.batch import Batch
from wla.data.dataset_config import ImageAugmentation
from wla.data.image_augmentation import augment, crop_and_resize, hue_matrix
from wla.data.lerobot.reader import LeRobotDataset

NOTHING = {"crop": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
STRONG = ImageAugmentation(crop=0.8, brightness=0.3, contrast=0.3, saturation=0.5, hue=0.1)


def batch_of(images: dict[str, torch.Tensor], subgoal: torch.Tensor | None = None) -> Batch:
    samples = len(next(iter(images.values())))
    return Batch(
        tokens=torch.zeros(samples, 1, dtype=torch.int64),
        attention_mask=torch.ones(samples, 1, dtype=torch.bool),
        labels=torch.zeros(samples, 1, dtype=torch.int64),
        images=images,
        state=torch.zeros(samples, 1),
        actions=torch.zeros(samples, 1, 1),
        action_mask=torch.ones(samples, 1, 1, dtype=torch.bool),
        subgoal=subgoal,
        subgoal_mask=torch.ones(samples, dtype=torch.bool),
        ids=[str(index) for index in range(samples)],
    )


def noise(samples: int = 6, side: int = 24, seed: int = 0) -> torch.Tensor:
    """Smooth, so that scaling hardly changes it."""
    coarse = torch.rand(samples, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic", antialias=True).clamp(0.02, 1)
    return (fine * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def augmented(config: ImageAugmentation, batch: Batch, seed: int = 3) -> Batch:
    return augment(batch, config, "front", np.random.default_rng(seed))


def test_all_frames_of_a_sample_are_changed_alike():
    now = noise()
    images = {"front": now, "history front": now.clone(), "first front": now.clone()}
    found = augmented(STRONG, batch_of(images, now.clone()))
    for other in (found.images["history front"], found.images["first front"], found.subgoal):
        assert torch.equal(other, found.images["front"])
    assert not torch.equal(found.images["front"], now)


def test_what_two_frames_have_in_common_they_still_have_in_common():
    now, later = noise(), noise()
    later[:, 12:] = noise(seed=1)[:, 12:]
    found = augmented(STRONG.replace(crop=1.0), batch_of({"front": now}, later))
    assert torch.equal(found.images["front"][:, :12], found.subgoal[:, :12])


def test_samples_and_cameras_differ():
    one = noise(1).expand(6, -1, -1, -1).clone()
    found = augmented(ImageAugmentation(**NOTHING | {"crop": 0.7}), batch_of({"front": one, "wrist": one.clone()}))
    assert len({image.numpy().tobytes() for image in found.images["front"]}) == 6
    assert not torch.equal(found.images["front"], found.images["wrist"])


def test_the_subgoal_is_cropped_as_the_image_of_another_size():
    large = noise(side=48)
    small = torch.nn.functional.avg_pool2d(large.permute(0, 3, 1, 2).float(), 2).round().to(torch.uint8)
    found = augmented(STRONG, batch_of({"front": small.permute(0, 2, 3, 1).contiguous()}, large))
    shrunk = torch.nn.functional.avg_pool2d(found.subgoal.permute(0, 3, 1, 2).float(), 2).permute(0, 2, 3, 1)
    assert (shrunk - found.images["front"].float()).abs().mean() < 2


def test_draws_follow_from_the_generator():
    batch = batch_of({"front": noise()})
    one, same, other = (augmented(STRONG, batch, seed).images["front"] for seed in (3, 3, 4))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_nothing_is_changed_by_limits_of_zero():
    batch = batch_of({"front": noise()}, noise(seed=1))
    found = augmented(ImageAugmentation(**NOTHING), batch)
    assert torch.equal(found.images["front"], batch.images["front"])
    assert torch.equal(found.subgoal, batch.subgoal)


@pytest.mark.parametrize(
    ("limit", "low", "high"),
    [("brightness", 0.7 * 0.4, 1.3 * 0.4), ("contrast", 0.5 - 1.3 * 0.1, 0.5 - 0.7 * 0.1)],
)
def test_colours_stay_within_their_limits_and_reach_them(limit, low, high):
    grey = torch.full((400, 2, 2, 3), round(0.4 * 255), dtype=torch.uint8)
    found = augmented(ImageAugmentation(**NOTHING | {limit: 0.3}), batch_of({"front": grey})).images["front"] / 255
    assert low - 0.01 <= found.min() < low + 0.02
    assert high - 0.02 < found.max() <= high + 0.01


def test_saturation_and_hue_keep_the_luma_and_leave_grey_alone():
    settings = ImageAugmentation(**NOTHING | {"saturation": 0.5, "hue": 0.5})
    colours = torch.tensor([[120, 90, 100], [128, 128, 128]], dtype=torch.uint8)
    images = colours.view(1, 1, 2, 3).expand(50, 2, 2, 3)
    found = augmented(settings, batch_of({"front": images})).images["front"]
    luma = torch.tensor([0.299, 0.587, 0.114])
    torch.testing.assert_close(found.float() @ luma, (colours.float() @ luma).expand(50, 2, 2), atol=1.0, rtol=0)
    assert (found[:, :, 1] == 128).all()
    assert found[:, 0, 0].float().std(0).max() > 3


def test_a_full_turn_of_the_hue_is_none():
    np.testing.assert_allclose(hue_matrix(np.array([0.0, 2 * np.pi])), [np.eye(3)] * 2, atol=1e-9)


def test_a_crop_is_the_part_of_the_image_and_never_leaves_it():
    pixels = torch.arange(64.0).view(1, 8, 8, 1).expand(2, 8, 8, 3).contiguous()
    corners = torch.tensor([[0.0, 0.5], [0.5, 0.0]])
    found = crop_and_resize(pixels, corners, 0.5)
    for index, (row, column) in enumerate(((0, 4), (4, 0))):
        part = pixels[index, row : row + 4, column : column + 4, 0]
        torch.testing.assert_close(found[index, :, :, 0].view(4, 2, 4, 2).mean((1, 3)), part, atol=2.5, rtol=0)
        assert part.min() - 5 <= found[index].min()
        assert found[index].max() <= part.max() + 5


def test_absent_images_stay_black():
    images = noise()
    images[2] = 0
    found = augmented(STRONG, batch_of({"front": images, "wrist": noise() * 0}))
    assert not found.images["front"][2].any()
    assert not found.images["wrist"].any()
    assert found.images["front"][1].any()


@pytest.mark.parametrize(
    "change", [{"crop": 0.0}, {"crop": 1.1}, {"hue": 0.6}, {"brightness": 1.0}, {"saturation": -1}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValidationError):
        ImageAugmentation(**change)


def test_batches_differ_from_those_without_in_their_images_alone(tmp_path):
    datasets = [LeRobotDataset(tiny.write_dataset(tmp_path / "toy"))]
    plain, changed = (
        sample_batch(make_sampler(datasets, image_augmentation=setting), size=12) for setting in (None, STRONG)
    )
    assert plain.ids == changed.ids
    assert torch.equal(plain.tokens, changed.tokens)
    assert torch.equal(plain.actions, changed.actions)
    assert not torch.equal(plain.images["front"], changed.images["front"])
    assert not torch.equal(plain.subgoal, changed.subgoal)
