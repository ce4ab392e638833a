from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from wla.config import Config


class Inner(Config):
    width: int = Field(default=64, gt=0)
    name: str = "nano"


class Outer(Config):
    rate: float = 1e-3
    cameras: tuple[str, ...] = ("front",)
    inner: Inner = Inner()
    note: str | None = None


def test_saving_and_loading_gives_the_same_configuration(tmp_path: Path) -> None:
    config = Outer(rate=0.5, cameras=("front", "wrist"), inner=Inner(width=8))
    config.save(tmp_path / "config.json")
    assert Outer.load(tmp_path / "config.json") == config


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer().rate = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"rat": 1}', "no field 'rat'; did you mean 'rate'?"),
        ('{"inner": {"widht": 1}}', "no field 'inner.widht'; did you mean 'inner.width'?"),
        ('{"inner": {"width": "wide"}}', "inner.width: .*got 'wide'"),
        ('{"inner": {"width": 0}}', "inner.width: .*greater than 0"),
        ("{", "damaged, Invalid JSON.*restore the file"),
        ("\0\xff", "damaged, Invalid JSON.*restore the file"),
        (f'{{"rate": "{"long " * 99}"}}', r"rate: .*long \.\.\.\)"),
    ],
)
def test_loading_names_the_file_and_the_field(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=rf"config\.json: .*{message}"):
        Outer.load(path)


def test_overrides_are_dotted_paths_with_json_or_plain_values() -> None:
    config = Outer().override(["rate=0.1", "inner.width=8", "inner.name=small", 'cameras=["wrist"]', "note=null"])
    assert config == Outer(rate=0.1, inner=Inner(width=8, name="small"), cameras=("wrist",))


def test_an_override_leaves_the_original_alone() -> None:
    config = Outer()
    config.override(["rate=0.1"])
    assert config.rate == 1e-3


def test_a_value_may_contain_an_equals_sign() -> None:
    assert Outer().override(["note=a=b"]).note == "a=b"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("rate", "dotted.path=value"),
        ("rat=1", "no field 'rat'"),
        ("inner.wide=1", "no field 'inner.wide'"),
        ("rate.deep=1", "no field 'rate.deep'"),
        ("inner.width=wide", "inner.width: .*got 'wide'"),
        ("inner.width=-1", "inner.width: .*greater than 0"),
    ],
)
def test_a_bad_override_says_which_and_why(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Outer().override([assignment])
