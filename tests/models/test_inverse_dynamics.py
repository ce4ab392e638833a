from __future__ import annotations

import pytest
import torch

from wla.models.configs import InverseConfig
from wla.models.inverse_dynamics import InverseDynamics


def model(**changes) -> InverseDynamics:
    torch.manual_seed(0)
    sizes = {
        "cameras": {"front": 32, "wrist": 16},
        "action_dim": 2,
        "channels": (8, 16),
        "num_keypoints": 8,
        "width": 32,
        **changes,
    }
    return InverseDynamics(InverseConfig(**sizes))


def random_frames(batch: int, frames: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randint(256, (batch, frames, side, side, 3), generator=generator, dtype=torch.uint8)
        for name, side in (("front", 32), ("wrist", 16))
    }


def test_the_prediction_depends_on_every_camera_and_every_frame():
    inverse, images = model().eval(), random_frames(4)
    predictions = inverse(images)
    assert predictions.shape == (4, 2)
    for camera in images:
        for frame in range(3):
            changed = {name: image.clone() for name, image in images.items()}
            changed[camera][:, frame] = 255 - changed[camera][:, frame]
            assert not torch.allclose(inverse(changed), predictions)


def test_training_learns_the_direction_in_which_a_square_moved():
    inverse = model(cameras={"front": 32}, lookahead=1)
    optimizer = torch.optim.Adam(inverse.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)

    def moving_squares(batch: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        start = torch.randint(8, 20, (batch, 2), generator=generator)
        shift = torch.randint(-3, 4, (batch, 2), generator=generator)
        images = torch.zeros(batch, 2, 32, 32, 3, dtype=torch.uint8)
        for row, (corner, step) in enumerate(zip(start.tolist(), shift.tolist(), strict=True)):
            for frame in range(2):
                top, left = (position + frame * by for position, by in zip(corner, step, strict=True))
                images[row, frame, top : top + 5, left : left + 5] = 255
        return {"front": images}, shift / 3

    for _ in range(100):
        images, shift = moving_squares(32)
        loss = inverse.loss(inverse(images), shift)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    images, shift = moving_squares(64)
    assert inverse.loss(inverse(images), shift) < 0.2 * shift.abs().mean()


def test_invalid_sizes_are_refused():
    with pytest.raises(ValueError, match="lookahead"):
        InverseConfig(cameras={"front": 32}, action_dim=2, lookahead=0)
    with pytest.raises(ValueError, match="cameras"):
        model(cameras={})
    with pytest.raises(ValueError, match=r"cameras.front: 18 pixels are not a multiple of 4"):
        model(cameras={"front": 18})
