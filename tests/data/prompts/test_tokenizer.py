from __future__ import annotations

import pytest

from wla.data.prompts.tokenizer import extend_tokenizer, load_tokenizer, save_tokenizer, train_tokenizer

OLD = ["put the red block in the bowl", "press the button"]
NEW = ["press the first button 2 of 3", "swap the left and middle blocks", "done:"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(OLD, queries=2, locations=4, size=600)


def split(tokenizer, text: str) -> list[str]:
    return [tokenizer.decode([token]) for token in tokenizer.encode(text, add_special_tokens=False)]


def test_new_texts_become_single_tokens_and_old_tokens_keep_their_indices(tokenizer):
    assert len(split(tokenizer, "swap")) > 1
    extended = extend_tokenizer(tokenizer, NEW, size=600)
    assert split(extended, NEW[0]) == [" press", " the", " first", " button", " 2", " of", " 3"]
    assert split(extended, "swap the middle") == [" swap", " the", " middle"]
    assert tokenizer.get_vocab().items() <= extended.get_vocab().items()
    assert sorted(extended.get_vocab().values()) == list(range(len(extended)))
    for text in OLD:
        assert extended.encode(text) == tokenizer.encode(text)


def test_extension_stops_at_the_size_and_merges_the_most_frequent_pairs_first(tokenizer):
    extended = extend_tokenizer(tokenizer, ["swap", "swap", "swap", "try"], size=len(tokenizer) + 2)
    assert len(extended) == len(tokenizer) + 2
    assert len(split(extended, "swap")) < len(split(tokenizer, "swap"))
    assert split(extended, "try") == split(tokenizer, "try")
    assert extend_tokenizer(tokenizer, NEW, size=len(tokenizer)).get_vocab() == tokenizer.get_vocab()


def test_a_saved_tokenizer_loads_and_decodes_what_it_encoded(tokenizer, tmp_path):
    extended = extend_tokenizer(tokenizer, NEW, size=600)
    save_tokenizer(extended, tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    for text in (*OLD, *NEW, "Würfel 抓住方块"):
        assert loaded.encode(text) == extended.encode(text)
        assert loaded.decode(loaded.encode(text)).strip() == text
