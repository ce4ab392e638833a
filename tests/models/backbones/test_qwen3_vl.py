from __future__ import annotations

import numpy as np
import pytest
import tiny_qwen
import torch

from wla.batch import left_pad
from wla.models.attention import NAME, attend, attend_fused
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


def prompt(text: list[int], *, history: bool = True) -> list[int]:
    """Two text tokens, the images, then `text`."""
    row = [7, 8]
    for name, count in TOKENS.items():
        if history or not name.startswith("history "):
            row += [START, *[IMAGE] * count, END]
    return [*row, *text]


def random_tokens(count: int, seed: int) -> list[int]:
    return torch.randint(0, 480, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def row_of(seen: dict[str, torch.Tensor], index: int) -> dict[str, torch.Tensor]:
    return {name: image[index : index + 1] for name, image in seen.items()}


@torch.no_grad()
def test_extending_in_pieces_equals_encoding_at_once(shared):
    """With rows of different lengths, a row without its history image, and pieces with left padding."""
    texts = [random_tokens(9, 1), random_tokens(4, 2), random_tokens(6, 3)]
    cuts = [(3, 5), (1, 2), (0, 6)]  # what the prompt holds, what the first piece ends with
    heads = [prompt(text[:cut], history=i != 1) for i, (text, (cut, _)) in enumerate(zip(texts, cuts, strict=True))]
    wholes = [prompt(text, history=i != 1) for i, text in enumerate(texts)]
    seen = images(3)
    at_once = shared.encode(*left_pad(wholes, 0), seen)
    context = shared.encode(*left_pad(heads, 0), seen, keep_cache=True)
    first = shared.extend(context, *left_pad([t[a:b] for t, (a, b) in zip(texts, cuts, strict=True)], 0))
    last = shared.extend(first, *left_pad([t[b:] or [0] for t, (_, b) in zip(texts, cuts, strict=True)], 0))
    for row, (text, (start, end)) in enumerate(zip(texts, cuts, strict=True)):
        for mine, expected in zip(first.layers, at_once.layers, strict=True):
            torch.testing.assert_close(
                mine[row, -(end - start) :], expected[row, len(expected[row]) - len(text) + start :][: end - start],
                atol=1e-4, rtol=1e-4,
            )  # fmt: skip
        if end < len(text):
            expected = at_once.last[row, -(len(text) - end) :]
            torch.testing.assert_close(last.last[row, -(len(text) - end) :], expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_masked_tokens_take_no_position(shared):
    text, seen = random_tokens(8, 5), images(1)
    at_once = shared.encode(*left_pad([prompt(text)], 0), seen)
    context = shared.encode(*left_pad([prompt([*text[:3], 11, 12])], 0), seen, keep_cache=True)
    context.attention_mask[:, -2:] = False  # rejected draft tokens
    context = shared.extend(context, torch.tensor([[9, text[3], 9]]), torch.tensor([[False, True, False]]))
    context = shared.extend(context, torch.tensor([text[4:]]), torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(context.last, at_once.last[:, -4:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_positions_after_images_are_shifted(shared):
    """The wrist image has 4 tokens and takes 2 positions: ignoring this changes the states of the text."""
    text, seen = random_tokens(5, 6), images(1)
    context = shared.encode(*left_pad([prompt(text[:2])], 0), seen, keep_cache=True)
    assert context.shift.tolist() == [[-2]]
    at_once = shared.encode(*left_pad([prompt(text)], 0), seen)
    context.shift = torch.zeros_like(context.shift)
    wrong = shared.extend(context, torch.tensor([text[2:]]), torch.ones(1, 3, dtype=torch.bool))
    assert not torch.allclose(wrong.last, at_once.last[:, -3:], atol=1e-3)


@torch.no_grad()
def test_a_batch_gives_the_states_of_each_sample_alone(shared):
    """Also for a sample without its history image."""
    rows = [prompt(random_tokens(6, 1)), prompt(random_tokens(3, 2), history=False), prompt(random_tokens(1, 3))]
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
def test_without_a_history_image_the_others_fill_their_own_placeholders(shared):
    seen, row = images(1), prompt(random_tokens(3, 2), history=False)
    base = shared.encode(*left_pad([row], 0), seen)
    for name in TOKENS:
        changed = shared.encode(*left_pad([row], 0), {**seen, name: 255 - seen[name]})
        unchanged = torch.equal(changed.last, base.last)
        assert unchanged == name.startswith("history ")
        differing = [other for other in TOKENS if not torch.equal(changed.images[other], base.images[other])]
        assert differing == ([] if name.startswith("history ") else [name])


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (96, 32)])
def test_patches_equal_the_library_s(shared, size):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
    pillow = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    library = pillow.Qwen2VLImageProcessorPil(
        do_resize=False, patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    expected = library(list(pixels), return_tensors="pt")
    patches = shared.reader.patchify(torch.from_numpy(pixels))
    torch.testing.assert_close(patches.flatten(0, 1), expected["pixel_values"], atol=1e-6, rtol=0)


def test_patches_are_computed_in_single_precision_for_half_precision_weights():
    single, half = backbone(), backbone().bfloat16()
    image = torch.arange(256, dtype=torch.uint8).repeat(12).view(1, 32, 32, 3)
    assert torch.equal(half.reader.patchify(image).bfloat16(), single.reader.patchify(image).bfloat16())


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_number_of_placeholders_is_named(shared, change):
    row = prompt([1, 2])
    row = [IMAGE, *row] if change > 0 else row[: row.index(IMAGE)] + row[row.index(IMAGE) + 1 :] + [1]
    if change < 0:
        row[row.index(IMAGE)] = 1
    with pytest.raises(ValueError, match=r"image placeholders; images .* need 6, or 5 without the history images"):
        shared.encode(*left_pad([row], 0), images(1))


def test_a_wrong_number_of_patches_is_named(shared):
    patches = shared.reader.patchify(images(1)["front"])
    with pytest.raises(ValueError, match="has 6 image placeholders and the images give 1 tokens"):
        shared.encode_patches(*left_pad([prompt([1])], 0), patches[0], torch.tensor([[1, 2, 2]]))


def test_gradients_reach_every_weight():
    model = backbone()
    context = model.encode(
        *left_pad([prompt(random_tokens(4, 1)), prompt(random_tokens(6, 2), history=False)], 0), images(2)
    )
    model.logits(context.last).square().mean().backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.abs().sum()]
    assert without == []


@torch.no_grad()
def test_attention_equals_the_library_s():
    """Grouped queries and left padding included: the same weights under transformers' own sdpa."""
    ours, theirs = backbone(), backbone()
    assert ours.model.language_model.config._attn_implementation == NAME
    theirs.model.language_model.set_attn_implementation("sdpa")
    rows = left_pad([prompt(random_tokens(6, 1)), prompt(random_tokens(3, 2))], 0)
    mine, expected = ours.encode(*rows, images(2)), theirs.encode(*rows, images(2))
    for a, b in zip(mine.layers, expected.layers, strict=True):
        torch.testing.assert_close(a[rows[1]], b[rows[1]], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_half_precision_is_close_to_single_precision():
    model = backbone()
    rows, seen = left_pad([prompt(random_tokens(6, 1)), prompt(random_tokens(3, 2), history=False)], 0), images(2)
    expected = model.encode(*rows, seen).last
    half = model.bfloat16()
    context = half.encode(*rows, seen, keep_cache=True)
    assert context.last.dtype == torch.bfloat16
    assert context.images["front"].dtype == torch.bfloat16
    similarity = torch.cosine_similarity(context.last.float(), expected, dim=-1)[rows[1]]
    assert similarity.min() > 0.99
    context = half.extend(context, torch.tensor([[4], [5]]), torch.tensor([[True], [False]]))
    assert context.last.isfinite().all()
    assert half.logits(context.last).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("heads", [6, 2])
@pytest.mark.parametrize("kind", ["masked", "causal", "everywhere"])
def test_attention_equals_the_fused_kernel_s(dtype, heads, kind):
    """Also where heads of queries share keys and values."""
    torch.manual_seed(0)
    query = torch.randn(2, 6, 4, 8, dtype=dtype)
    key, value = (torch.randn(2, heads, 4, 8, dtype=dtype) for _ in range(2))
    mask = torch.rand(2, 1, 4, 4) > 0.4
    mask[..., 0] = True
    given = mask if kind == "masked" else None
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=given, is_causal=kind == "causal", enable_gqa=True
    )
    tolerance = 1e-5 if dtype == torch.float32 else 3e-2
    for own in (attend, attend_fused):
        attended = own(query, key, value, given, causal=kind == "causal")
        torch.testing.assert_close(attended, expected, atol=tolerance, rtol=tolerance)


def test_a_row_without_any_key_leaves_the_gradients_of_others_finite():
    own = backbone()
    tokens, mask = left_pad([prompt(random_tokens(6, 1)), prompt([])], 0)
    assert not mask[1, 0]
    own.encode(tokens, mask, images(2)).last[mask].square().mean().backward()
    assert all(weight.grad.isfinite().all() for weight in own.parameters() if weight.grad is not None)
