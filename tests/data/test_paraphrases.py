"""Files with paraphrases of each task."""

from __future__ import annotations

import json

import pytest

from wla.data.paraphrases import read_paraphrases


def test_the_paraphrases_of_the_given_tasks_are_read(tmp_path):
    path = tmp_path / "i.json"
    path.write_text(json.dumps({"a": ["one", "two"], "b": ["three"], "unused": []}))
    assert read_paraphrases(path, ["b", "a"]) == {"b": ("three",), "a": ("one", "two")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "damaged JSON"),
        ("[]", "is a list, not a JSON object"),
        ('{"b": ["x"]}', "no paraphrases for the task 'a'; add them"),
        ('{"a": []}', "the task 'a' needs a list of at least one paraphrase"),
        ('{"a": "text"}', "the task 'a' needs a list"),
        ('{"a": ["x", " "]}', "none of them empty"),
        ('{"a": [1]}', "the task 'a' needs a list"),
    ],
)
def test_a_bad_file_is_refused(text, message, tmp_path):
    path = tmp_path / "i.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_paraphrases(path, ["a"])
    assert str(caught.value).startswith(str(path))


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"i.json: no such file of paraphrases; correct the path"):
        read_paraphrases(tmp_path / "i.json", [])
