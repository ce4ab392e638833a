"""Overrides of nested configurations: indices, lists, null parts, unions, and the messages about mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from wla.config import Config


class Columns(Config):
    state: str = "state"
    cameras: dict[str, str] = Field(default_factory=dict)


class Source(Config):
    path: str
    weight: float | None = None
    columns: Columns = Columns()
    robot: Columns | None = None

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value


class Adapters(Config):
    rank: int = Field(ge=1)
    alpha: int
    dropout: float = 0.0
    modules: tuple[str, ...] = ("embed",)


class FromFolder(Config):
    kind: Literal["folder"] = "folder"
    folder: str
    prompt: str = "short"


class FromHub(Config):
    kind: Literal["hub"] = "hub"
    name: str
    prompt: str = "long"


class Loop(Config):
    batch_size: int = 8
    micro_batches: int = 1

    @model_validator(mode="after")
    def _divisible(self) -> Loop:
        if self.batch_size % self.micro_batches:
            raise ValueError("batch_size is not a multiple of micro_batches")
        return self


class Recipe(Config):
    datasets: tuple[Source, ...] = (Source(path="a"), Source(path="b"))
    tasks: tuple[str, ...] = ()
    offsets: tuple[int, ...] = ()
    staleness: tuple[int, int] = (1, 8)
    lora: Adapters | None = None
    init: Annotated[FromFolder | FromHub, Field(discriminator="kind")] = FromFolder(folder="f")
    fallback: FromFolder | FromHub | None = None
    memory_dropout: float = 0.0
    blocks: Literal["Res", "Vit"] | tuple[Literal["Res", "Vit"], ...] = "Res"
    out: Path = Path("out")
    loop: Loop = Loop()


def changed(*assignments: str) -> Recipe:
    return Recipe().override(assignments)


@pytest.mark.parametrize(
    ("assignment", "datasets"),
    [
        ("datasets=c", (Source(path="c"),)),
        ("datasets=c,d", (Source(path="c"), Source(path="d"))),
        ('datasets=["c", "d"]', (Source(path="c"), Source(path="d"))),
        ('datasets=[{"path": "c", "weight": 2}]', (Source(path="c", weight=2),)),
        ("datasets=2026", (Source(path="2026"),)),
        ("datasets.0.path=c", (Source(path="c"), Source(path="b"))),
        ("datasets.1.weight=0.5", (Source(path="a"), Source(path="b", weight=0.5))),
        ("datasets.1=c", (Source(path="a"), Source(path="c"))),
        ("datasets.2=c", (Source(path="a"), Source(path="b"), Source(path="c"))),
        ("datasets.2.path=c", (Source(path="a"), Source(path="b"), Source(path="c"))),
        ("datasets=[]", ()),
    ],
)
def test_datasets_are_given_by_path_by_index_or_as_json(assignment: str, datasets: tuple[Source, ...]) -> None:
    assert changed(assignment).datasets == datasets


@pytest.mark.parametrize(
    ("assignment", "field", "value"),
    [
        ("tasks=place", "tasks", ("place",)),
        ("tasks=place, stack", "tasks", ("place", "stack")),
        ('tasks=["a,b"]', "tasks", ("a,b",)),
        ("offsets=-8", "offsets", (-8,)),
        ("offsets=2,4", "offsets", (2, 4)),
        ("staleness=3,5", "staleness", (3, 5)),
        ("staleness.1=9", "staleness", (1, 9)),
        ("out=2026", "out", Path("2026")),
        ("blocks=Vit", "blocks", "Vit"),  # one value where one is allowed
        ("blocks=Vit,Res", "blocks", ("Vit", "Res")),
    ],
)
def test_lists_may_be_written_with_commas(assignment: str, field: str, value: object) -> None:
    assert getattr(changed(assignment), field) == value


def test_later_assignments_change_what_earlier_ones_gave() -> None:
    recipe = changed(
        "datasets=c", "datasets.0.weight=0.5", "datasets.1=d", 'lora={"rank": 1, "alpha": 2}', "lora.rank=3"
    )
    assert recipe.datasets == (Source(path="c", weight=0.5), Source(path="d"))
    assert recipe.lora == Adapters(rank=3, alpha=2)


def test_a_null_part_is_made_of_all_fields_that_are_given() -> None:
    assert changed("lora.rank=8", "lora.alpha=16").lora == Adapters(rank=8, alpha=16)
    assert changed("datasets.0.robot.state=qpos").datasets[0].robot == Columns(state="qpos")
    assert changed("lora.rank=8", "lora=null").lora is None


def test_keys_of_a_dictionary_are_part_of_the_path() -> None:
    assert changed("datasets.0.columns.cameras.front=head").datasets[0].columns.cameras == {"front": "head"}


def test_a_union_keeps_its_member_where_that_has_the_field() -> None:
    assert changed("init.prompt=x").init == FromFolder(folder="f", prompt="x")


def test_another_member_of_a_union_is_chosen_by_its_kind() -> None:
    assert changed("init.kind=hub", "init.name=n").init == FromHub(name="n")
    assert changed('init={"kind": "hub", "name": "n"}').init == FromHub(name="n")
    assert changed("fallback.name=n").fallback == FromHub(name="n")  # only one member has it


def test_fields_are_validated_together() -> None:
    assert changed("loop.micro_batches=3", "loop.batch_size=9").loop == Loop(batch_size=9, micro_batches=3)


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["dataset=c"], "override: no field 'dataset'; did you mean 'datasets'?"),
        (["datasets.0.wieght=1"], "override: no field 'datasets.0.wieght'; did you mean 'datasets.0.weight'?"),
        (["loop.zzz=1"], "override: no field 'loop.zzz'; fields are batch_size, micro_batches"),
        (["forgotten=0.1"], "override: 'forgotten' is called 'memory_dropout' now"),
        (["datasets.3=c"], "override: no item 'datasets.3'; datasets has 2, counted from 0, and 2 appends one"),
        (["datasets.-1=c"], "override: no item 'datasets.-1'; datasets has 2, counted from 0, and 2 appends one"),
        (
            ["datasets.first.path=c"],
            "override: no item 'datasets.first'; datasets has 2, counted from 0, and 2 appends one",
        ),
        (["datasets.2.weight=1"], "override: datasets.2.path: required, and not given"),
        (["lora.dropout=0.1"], "override: lora.rank, lora.alpha: required, and not given"),
        (["lora.rnak=8"], "override: no field 'lora.rnak'; did you mean 'lora.rank'?"),
        (
            ["memory_dropout.deep=1"],
            "override: no field 'memory_dropout.deep'; memory_dropout is a value without fields",
        ),
        (["staleness=1,2,3"], "override: staleness: Tuple should have at most 2 items after validation, not 3 (got"),
        (["offsets=two"], "override: offsets.0: Input should be a valid integer"),
        (["lora.rank=0", "lora.alpha=1"], "override: lora.rank: Input should be greater than or equal to 1 (got 0)"),
        (["datasets.0.weight=much"], "override: datasets.0.weight: Input should be a valid number"),
        (["loop.micro_batches=3"], "override: loop: batch_size is not a multiple of micro_batches"),
        (
            ["init.name=n"],
            "override: FromFolder has no field 'init.name', FromHub has; choose with init.kind=hub before it",
        ),
        (["init.kind=hubb"], "override: init.kind: no kind 'hubb'; there are folder, hub"),
        (["init.nmae=n"], "override: no field 'init.nmae'; fields are kind, folder, prompt"),
        (["init.kind=hub"], "override: init.name: required, and not given"),
        (['init={"kind": "hub", "nmae": "n"}'], "override: no field 'init.nmae'; did you mean 'init.name'?"),
        (["fallback.prompt=x"], "override: fallback is null, and FromFolder and FromHub have 'prompt'; choose with"),
        (['datasets=[{"pth": "c"}]'], "override: no field 'datasets.0.pth'; did you mean 'datasets.0.path'?"),
        (["loop"], "override 'loop' is not of the form dotted.path=value"),
    ],
)
def test_a_mistake_is_one_line_with_the_path_and_a_way_out(assignments: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as raised:
        changed(*assignments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("assignment", ["steps=3", "stepss=3"])
def test_a_field_of_another_part_is_found(assignment: str) -> None:
    class Optim(Config):
        steps: int = 1

    class Run(Config):
        optim: Optim = Optim()
        name: str = ""

    with pytest.raises(
        ValueError, match=r"no field 'steps{1,2}'; fields are optim, name; did you mean 'optim.steps'\?$"
    ):
        Run().override([assignment])
