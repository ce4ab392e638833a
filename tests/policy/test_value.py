from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch

from wla.data.memory import MemoryConfig
from wla.models.value import ValueConfig, ValueModel, discounted
from wla.policy.value import Value, ValueFile, load_value

SILENT = ["", ""]


def value(seed: int = 0) -> Value:
    torch.manual_seed(seed)
    backbone = tiny.model_config().backbone.model_copy(update={"cameras": {"front": 32}})
    model = ValueModel(ValueConfig(backbone=backbone)).eval()
    return Value(ValueFile(model=model.config, prompt=tiny.PROMPT), model, tiny.tokenizer())


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_scores_lie_between_0_and_1_and_follow_image_and_instruction():
    judge, images = value(), pictures(2)
    same = judge.score([tiny.INSTRUCTIONS[0]] * 2, images, SILENT)
    assert ((same > 0) & (same < 1)).all()
    assert same[0] != same[1]
    assert judge.score([tiny.INSTRUCTIONS[1]], images[:1], [""])[0] != same[0]


def test_a_score_does_not_depend_on_what_else_is_scored():
    judge, images = value(), pictures(2)
    together = judge.score(tiny.INSTRUCTIONS, images, SILENT)  # of different lengths
    alone = [judge.score([text], image[None], [""])[0] for text, image in zip(tiny.INSTRUCTIONS, images, strict=True)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_images_of_another_size_are_fitted():
    judge, image = value(), np.full((1, 64, 64, 3), 80, np.uint8)
    assert judge.score(["go"], image, [""]) == pytest.approx(judge.score(["go"], image[:, ::2, ::2], [""]), abs=1e-6)


def test_it_comes_back_from_its_folder(tmp_path):
    judge = value()
    judge.save(tmp_path / "value")
    again = load_value(tmp_path / "value")
    assert again.config == judge.config
    np.testing.assert_array_equal(again.score(["go"], pictures(1), [""]), judge.score(["go"], pictures(1), [""]))
    with pytest.raises(ValueError, match="no value model here"):
        load_value(tmp_path)


def test_what_a_frame_was_worth():
    success, left = torch.tensor([True, True, False]), torch.tensor([0, 2, 0])
    assert discounted(success, left, 0.5).tolist() == [1.0, 0.25, 0.0]


def test_the_loss_is_least_for_the_expected_value():
    judge = value()
    worth = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    odds = torch.logit(torch.linspace(0.05, 0.95, 19))
    losses = [float(judge.model.loss(torch.full((8,), float(odd)), worth)) for odd in odds]
    assert torch.sigmoid(odds[int(np.argmin(losses))]).item() == pytest.approx(3 / 8, abs=0.026)


def test_memory_and_state_are_no_part_of_the_prompt():
    judge = value()
    tokens, _ = judge.prompts(["press the button"], [""])
    prompter_locations = judge.tokenizer.convert_tokens_to_ids("<|location_0|>")
    assert prompter_locations not in tokens[0].tolist()
    assert replace(judge).prompts(["press the button"], [""])[0].tolist() == tokens.tolist()


def test_a_model_that_reads_words_scores_by_what_is_being_done():
    deaf = value()
    hears = replace(
        deaf,
        config=ValueFile(model=deaf.model.config, prompt=tiny.PROMPT.model_copy(update={"memory": MemoryConfig()})),
    )
    image = pictures(1)
    for judge, differs in ((deaf, False), (hears, True)):
        first, second = (judge.score(["go"], image, [doing])[0] for doing in ("reach the block", "release the block"))
        assert (first != second) == differs
