from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import AllowInfNan, BaseModel, Field, FiniteFloat, ValidationError
from pydantic.fields import FieldInfo

import wla
from wla.cli.command import CliArgs
from wla.config import Config, Record
from wla.presets.recipe import load_recipe


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


def numbers_without_bounds(annotation: Any, bounds: tuple[object, ...] = ()) -> Iterator[type]:
    """Yields the numbers in a type that have no bounds; `FiniteFloat` says that any number is meant."""
    if annotation in (int, float):
        flat = [one for each in bounds for one in (each.metadata if isinstance(each, FieldInfo) else (each,))]
        if not any(isinstance(each, AllowInfNan | Ge | Gt | Le | Lt) for each in flat):
            yield annotation
    elif get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        yield from numbers_without_bounds(inner, (*bounds, *more))
    elif get_origin(annotation) is not Literal:
        outer = bounds if type(None) in get_args(annotation) else ()  # `int | None` keeps the field's own bounds
        for each in get_args(annotation):
            yield from numbers_without_bounds(each, outer)


def fields_without_bounds(kind: type[BaseModel]) -> list[str]:
    return [
        name
        for name, field in kind.model_fields.items()
        if any(numbers_without_bounds(field.annotation, tuple(field.metadata)))
    ]


def configuration_classes() -> list[type[BaseModel]]:
    package = Path(wla.__file__).parent
    for file in package.rglob("*.py"):
        if re.search(r"class \w+\(.*(Config|Args|Source)\)", file.read_text("utf-8")):
            importlib.import_module(".".join(["wla", *file.relative_to(package).with_suffix("").parts]))
    found: list[type[BaseModel]] = []
    todo: list[type[BaseModel]] = [Config, CliArgs]
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        if kind.__module__.startswith("wla.") and not issubclass(kind, Record):
            found.append(kind)
    return found


def test_every_number_of_every_configuration_has_bounds() -> None:
    found = [f"{kind.__name__}.{name}" for kind in configuration_classes() for name in fields_without_bounds(kind)]
    assert found == [], "give it bounds (Field(ge=...), PositiveInt, ...), or FiniteFloat where any number is right"


def test_numbers_without_bounds_are_found() -> None:
    class Sample(BaseModel):
        a: int
        b: float | None = None
        c: tuple[int, ...] = Field(default=(), min_length=0)
        d: dict[str, tuple[Annotated[int, Field(ge=0)], float]]
        e: int = Field(ge=0)
        f: float | None = Field(default=None, gt=0)
        g: tuple[Annotated[int, Field(ge=1, le=2)], ...] = ()
        h: Literal[1, 2] = 1
        i: FiniteFloat | None = None

    assert fields_without_bounds(Sample) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("recipe", "override"),
    [
        ("nano_tabletop", "loop.optim.clip=-1"),
        ("nano_tabletop", "loop.optim.final_learning_rate=-0.1"),
        ("nano_tabletop", "loop.optim.final_learning_rate=1"),
        ("nano_tabletop", "loop.optim.learning_rate=NaN"),
        ("nano_tabletop", "loop.optim.weight_decay=Infinity"),
        ("nano_tabletop", "loop.optim.betas=[0.9, 1.0]"),
        ("nano_tabletop", "loop.seed=-1"),
        ("nano_tabletop", "replan_steps=-3"),
        ("nano_tabletop", "replan_steps=9"),
        ("nano_tabletop", "action_noise=-1"),
        ("nano_tabletop", "datasets.0.weight=0"),
        ("nano_tabletop", "datasets.0.weight=-1"),
        ("nano_tabletop", "instruction_dropout=1.5"),
        ("nano_tabletop", "subgoal_offsets=[4, 99999999999999999999]"),
        ("nano_tabletop", "model.loss_weights.action=-1"),
        ("nano_tabletop", 'model.loss_weights={"action": 0, "world": 0, "language": 0}'),
        ("nano_tabletop", "model.backbone.layers=2147483648"),
        ("nano_tabletop", "model.backbone.cameras.front=0"),
        ("nano_tabletop", "model.world_expert.flow_steps=0"),
        ("nano_tabletop", "init.grounding.samples=0"),
        ("nano_tabletop", "init.grounding.weight=-0.1"),
        ("nano_world", "timestep_shift=0"),
        ("nano_world", "action_condition_dropout=1.1"),
        ("nano_value", "discount=1"),
        ("nano_base", "scenes.scenes_per_variant=0"),
        ("nano_codec", "datasets=[]"),
        ("ablate_world", "seeds=[-1]"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(recipe: str, override: str) -> None:
    config, name = load_recipe(recipe), override.partition("=")[0].rpartition(".")[2]
    with pytest.raises(ValueError, match=name) as refused:
        config.override([override])
    assert "\n" not in str(refused.value)


class Measured(Record):
    psnr: float


def test_what_was_measured_may_be_infinite() -> None:
    assert Measured(psnr=float("inf")).psnr == float("inf")
    with pytest.raises(ValidationError, match="finite"):
        Outer(rate=float("inf"))
