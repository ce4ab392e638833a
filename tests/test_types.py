from __future__ import annotations

import pytest

from wla.types import ImageKey


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (ImageKey("front"), "front"),
        (ImageKey("front", "history"), "history front"),
        (ImageKey("front", "history3"), "history3 front"),
        (ImageKey("front", "first"), "first front"),
        (ImageKey("first"), "first"),
        (ImageKey("left wrist"), "left wrist"),
        (ImageKey("left wrist", "history"), "history left wrist"),
        (ImageKey("history"), "history"),
        (ImageKey("first person"), "current first person"),
        (ImageKey("first person", "first"), "first first person"),
        (ImageKey("history cam", "history"), "history history cam"),
        (ImageKey("current"), "current"),
        (ImageKey("current view"), "current current view"),
        (ImageKey("first "), "first "),
    ],
)
def test_an_image_key_and_its_string_form_are_inverses(key: ImageKey, name: str) -> None:
    assert str(key) == name
    assert ImageKey.parse(name) == key
