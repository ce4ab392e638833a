from __future__ import annotations

import numpy as np
import pytest
import tiny_qwen
import torch
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from wla.batch import left_pad
from wla.models.attention import NAME, attend
from wla.models.backbones.qwen3_vl import QwenBackbone

IMAGE, START, END = tiny_qwen.IMAGE, tiny_qwen.VISION_START, tiny_qwen.VISION_END
TOKENS = {"history front": 1, "front": 1, "wrist": 4}


def backbone(seed: int = 0) -> QwenBackbone:
    return tiny_qwen.model(seed=seed).backbone


@pytest.fixture(scope="module")
def shared() -> QwenBackbone:
    return backbone()


def images(batch: int, seed: int = 0) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    sides = tiny_qwen.cameras(first=False)
    return {
        name: torch.from_numpy(rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8))
        for name, side in sides.items()
    }


def prompt(text: list[int], *, past: bool = True) -> list[int]:
    """Two words, the images, then `text`."""
    row = [7, 8]
    for name, count in TOKENS.items():
        if past or not name.startswith("history "):
            row += [START, *[IMAGE] * count, END]
    return [*row, *text]


def words(count: int, seed: int) -> list[int]:
    return torch.randint(0, 480, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def row_of(seen: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    return {name: image[index : index + 1] for name, image in seen.items()}


@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(shared):
    """Rows of different lengths, a row without its image of the past, and pieces with padding in front."""
    texts = [words(9, 1), words(4, 2), words(6, 3)]
    cuts = [(3, 5), (1, 2), (0, 6)]  # what the prompt holds, what the first piece ends with
    heads = [prompt(text[:cut], past=i != 1) for i, (text, (cut, _)) in enumerate(zip(texts, cuts, strict=True))]
    wholes = [prompt(text, past=i != 1) for i, text in enumerate(texts)]
    seen = images(3)
    at_once = shared.encode(*left_pad(wholes, 0), seen)
    context = shared.encode(*left_pad(heads, 0), seen, keep_cache=True)
    first = shared.extend(context, *left_pad([t[a:b] for t, (a, b) in zip(texts, cuts, strict=True)], 0))
    last = shared.extend(first, *left_pad([t[b:] or [0] for t, (_, b) in zip(texts, cuts, strict=True)], 0))
    for row, (text, (start, end)) in enumerate(zip(texts, cuts, strict=True)):
        for mine, wanted in zip(first.layers, at_once.layers, strict=True):
            torch.testing.assert_close(
                mine[row, -(end - start) :], wanted[row, len(wanted[row]) - len(text) + start :][: end - start],
                atol=1e-4, rtol=1e-4,
            )  # fmt: skip
        if end < len(text):
            wanted = at_once.last[row, -(len(text) - end) :]
            torch.testing.assert_close(last.last[row, -(len(text) - end) :], wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_holes_and_dropped_tokens_take_no_place(shared):
    text, seen = words(8, 5), images(1)
    at_once = shared.encode(*left_pad([prompt(text)], 0), seen)
    context = shared.encode(*left_pad([prompt([*text[:3], 11, 12])], 0), seen, keep_cache=True)
    context.attention_mask[:, -2:] = False  # forgotten
    context = shared.extend(context, torch.tensor([[9, text[3], 9]]), torch.tensor([[False, True, False]]))
    context = shared.extend(context, torch.tensor([text[4:]]), torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(context.last, at_once.last[:, -4:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_positions_are_counted_from_what_the_images_take(shared):
    """The wrist's image has 4 tokens and takes 2 positions: a text that ignores this comes out differently."""
    text, seen = words(5, 6), images(1)
    context = shared.encode(*left_pad([prompt(text[:2])], 0), seen, keep_cache=True)
    assert context.shift.tolist() == [[-2]]
    at_once = shared.encode(*left_pad([prompt(text)], 0), seen)
    context.shift = torch.zeros_like(context.shift)
    wrong = shared.extend(context, torch.tensor([text[2:]]), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(wrong.last, at_once.last[:, -3:], atol=1e-3)


@torch.no_grad()
def test_a_batch_equals_its_members(shared):
    """Also where one sample lacks its image of the past."""
    rows = [prompt(words(6, 1)), prompt(words(3, 2), past=False), prompt(words(1, 3))]
    seen = images(3)
    together = shared.encode(*left_pad(rows, 0), seen)
    for index, row in enumerate(rows):
        alone = shared.encode(*left_pad([row], 0), row_of(seen, index))
        torch.testing.assert_close(together.last[index, -len(row) :], alone.last[0], atol=1e-4, rtol=1e-4)
        for name in TOKENS:
            torch.testing.assert_close(together.images[name][index], alone.images[name][0], atol=1e-4, rtol=1e-4)
    assert not together.images["history front"][1].any()
    assert together.images["front"][1].any()


@torch.no_grad()
def test_every_image_of_a_row_without_a_past_lands_at_its_own_place(shared):
    seen, row = images(1), prompt(words(3, 2), past=False)
    base = shared.encode(*left_pad([row], 0), seen)
    for name in TOKENS:
        changed = shared.encode(*left_pad([row], 0), {**seen, name: 255 - seen[name]})
        same = torch.equal(changed.last, base.last)
        assert same == name.startswith("history ")
        unlike = [other for other in TOKENS if not torch.equal(changed.images[other], base.images[other])]
        assert unlike == ([] if name.startswith("history ") else [name])


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 32)])
def test_patches_are_those_of_the_library(shared, size):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    library = Qwen2VLImageProcessorPil(
        do_resize=False, patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    wanted = library(list(pictures), return_tensors="pt")
    patches, grid = shared.patchify(torch.from_numpy(pictures))
    assert torch.equal(grid, wanted["image_grid_thw"])
    torch.testing.assert_close(patches.flatten(0, 1), wanted["pixel_values"], atol=1e-6, rtol=0)


def test_patches_keep_their_precision_when_the_weights_are_halved():
    ours, halved = backbone(), backbone().bfloat16()
    picture = torch.arange(256, dtype=torch.uint8).repeat(12).view(1, 32, 32, 3)
    wanted = ours.patchify(picture)[0].bfloat16()
    assert torch.equal(halved.patchify(picture)[0].bfloat16(), wanted)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_placeholders_is_named(shared, change):
    row = prompt([1, 2])
    row = [IMAGE, *row] if change > 0 else row[: row.index(IMAGE)] + row[row.index(IMAGE) + 1 :] + [1]
    if change < 0:
        row[row.index(IMAGE)] = 1
    with pytest.raises(ValueError, match=r"image placeholders; images .* need 6, or 5 without those of the past"):
        shared.encode(*left_pad([row], 0), images(1))


def test_patches_that_do_not_fit_the_placeholders_are_named(shared):
    patches, grid = shared.patchify(images(1)["front"])
    with pytest.raises(ValueError, match="has 6 image placeholders and the images give 1 tokens"):
        shared.encode_patches(*left_pad([prompt([1])], 0), patches[0], grid)


def test_gradients_reach_every_weight():
    own = backbone()
    context = own.encode(*left_pad([prompt(words(4, 1)), prompt(words(6, 2), past=False)], 0), images(2))
    own.logits(context.last).square().mean().backward()
    without = [name for name, weight in own.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    assert without == []


@torch.no_grad()
def test_attention_equals_the_librarys():
    """Grouped queries and left padding included: the same weights under transformers' own sdpa."""
    ours, theirs = backbone(), backbone()
    assert ours.model.language_model.config._attn_implementation == NAME
    theirs.model.language_model.set_attn_implementation("sdpa")
    rows = left_pad([prompt(words(6, 1)), prompt(words(3, 2))], 0)
    mine, wanted = ours.encode(*rows, images(2)), theirs.encode(*rows, images(2))
    for a, b in zip(mine.layers, wanted.layers, strict=True):
        torch.testing.assert_close(a[rows[1]], b[rows[1]], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_half_precision_comes_close():
    own = backbone()
    rows, seen = left_pad([prompt(words(6, 1)), prompt(words(3, 2), past=False)], 0), images(2)
    wanted = own.encode(*rows, seen).last
    halved = own.bfloat16()
    context = halved.encode(*rows, seen, keep_cache=True)
    assert context.last.dtype == torch.bfloat16
    assert context.images["front"].dtype == torch.bfloat16
    likeness = torch.cosine_similarity(context.last.float(), wanted, dim=-1)[rows[1]]
    assert likeness.min() > 0.99
    context = halved.extend(context, torch.tensor([[4], [5]]), torch.tensor([[True], [False]]))
    assert context.last.isfinite().all()
    assert halved.logits(context.last).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_without_any_key_gives_zeros_and_no_gradient(dtype):
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 4, 8, dtype=dtype, requires_grad=True) for _ in range(3))
    mask = torch.rand(2, 1, 4, 4) > 0.4
    mask[0, 0, 1] = mask[1, 0, 3] = False
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    got = attend(query, key, value, mask)
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(got, wanted, atol=tolerance, rtol=tolerance)
    assert not got[0, :, 1].any()
    got[0, :, 1].sum().backward()
    assert all(not x.grad.any() for x in (query, key, value))


def test_a_row_without_any_key_does_not_spoil_the_gradients_of_others():
    own = backbone()
    tokens, mask = left_pad([prompt(words(6, 1)), prompt([])], 0)
    assert not mask[1, 0]
    own.encode(tokens, mask, images(2)).last[mask].square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in own.parameters() if weight.grad is not None)
