from __future__ import annotations

import pytest

from wla.data.prompts.tokenizer import extend_tokenizer, load_tokenizer, save_tokenizer, train_tokenizer

OLD = ["put the red block in the bowl", "press the button"]
NEW = ["press the first button 2 of 3", "swap the left and middle blocks", "done:"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(OLD, queries=2, locations=4, size=600)


def words(tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, add_special_tokens=False)]


def test_new_words_become_single_tokens_and_old_ones_keep_their_numbers(tokenizer):
    assert len(words(tokenizer, "swap")) > 1
    grown = extend_tokenizer(tokenizer, NEW, size=600)
    assert words(grown, NEW[0]) == [" press", " the", " first", " button", " 2", " of", " 3"]
    assert words(grown, "swap the middle") == [" swap", " the", " middle"]
    assert tokenizer.get_vocab().items() <= grown.get_vocab().items()
    assert sorted(grown.get_vocab().values()) == list(range(len(grown)))
    for text in OLD:
        assert grown.encode(text) == tokenizer.encode(text)


def test_it_grows_no_further_than_asked_and_the_most_frequent_come_first(tokenizer):
    grown = extend_tokenizer(tokenizer, ["swap", "swap", "swap", "try"], size=len(tokenizer) + 2)
    assert len(grown) == len(tokenizer) + 2
    assert len(words(grown, "swap")) < len(words(tokenizer, "swap"))
    assert words(grown, "try") == words(tokenizer, "try")
    assert extend_tokenizer(tokenizer, NEW, size=len(tokenizer)).get_vocab() == tokenizer.get_vocab()


def test_what_is_said_comes_back_from_a_file_too(tokenizer, tmp_path):
    grown = extend_tokenizer(tokenizer, NEW, size=600)
    save_tokenizer(grown, tmp_path / "tokenizer.json")
    back = load_tokenizer(tmp_path / "tokenizer.json")
    for text in (*OLD, *NEW, "Würfel 抓住方块"):
        assert back.encode(text) == grown.encode(text)
        assert back.decode(back.encode(text)).strip() == text
