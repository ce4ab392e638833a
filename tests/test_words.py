"""Words that went do not come back into identifiers, options, file names and documents."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from wla.migrations import RENAMED_COMMANDS, RENAMED_OPTIONS

ROOT = Path(__file__).parents[1]
CODE = sorted(file for folder in ("src", "plugins", "tests", "benchmarks") for file in (ROOT / folder).rglob("*.py"))
SOURCE = [file for file in CODE if file.is_relative_to(ROOT / "src")]
TEXTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docs/guides").glob("*.md")]
)
# The table itself and its tests hold the old names; so do the mutants that name what they break.
ALLOWED = {ROOT / "src/wla/migrations.py", ROOT / "tests/test_words.py"}

GONE = frozenset(
    """
    afresh astray kicks kicked tampered weighing weighed thought think propose picture speaks lesson lessons
    spoil recalled inferred stumbles doing waves told tell said hear girth wordless blind
    """.split()  # noqa: SIM905
)
"""Words that no identifier consists of or contains as one of its parts; see RENAMED_* in wla.migrations for fields."""

GONE_NAMES = frozenset(
    """
    IGNORE Moment Watcher Doing DoingStates Thought Reader ScaledPolicy ScalingConfig Goal Weighing Tampered
    Shared Corrections HeldOut HeldOutConfig RecallConfig InferConfig PolicyTraining PolicyTask WorldTraining
    WorldTask CodecTraining CodecTask BaseTraining BaseTask ValueTraining ValueTask InverseTraining InverseTask
    NanoStart PublishedStart CheckpointStart Beginning Lesson Average TermShares WindowBatches MemoryErrors
    LabelledFrames SeekingFrames Piece VideoFacts Endpoint Case WordScore WordRates Words Album OneLine
    BadArguments KickedActions write_whole replacing_file read_object by_first first_then_rest any_process
    interrupts_held keep_freed_memory recompute look_steps per_kind world_samples sees_present noise_shift
    pixel_weight octaves decode_ahead empty_instructions memory_errors replacing way_out drawn_ahead draw_seed
    term_shares one_of grow_tokenizer special_words
    """.split()  # noqa: SIM905
)
"""Identifiers that were renamed."""


def parts(name: str) -> set[str]:
    """The words of an identifier, in lower case: `readThing` and `read_thing` have two."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def identifiers(source: str) -> Iterator[tuple[int, str]]:
    """Names with their lines; those in f-strings too."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.keyword(arg=str(name)):
                yield node.lineno, name


def offences(source: str) -> list[str]:
    return sorted({f"{line}: {name}" for line, name in identifiers(source) if name in GONE_NAMES or parts(name) & GONE})


@pytest.mark.parametrize(
    "file", [file for file in CODE if file not in ALLOWED], ids=lambda file: str(file.relative_to(ROOT))
)
def test_no_identifier_is_a_word_that_went(file: Path) -> None:
    assert offences(file.read_text("utf-8")) == []
    assert not parts(file.stem) & GONE, "a file name is an identifier, too"


@pytest.mark.parametrize("file", SOURCE, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_text_shows_an_option_or_a_command_that_went(file: Path) -> None:
    if file in ALLOWED:
        return
    strings = [
        t.string
        for t in tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline)
        if t.type == tokenize.STRING
    ]
    assert [text for text in strings if shown_options(text)] == []


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_document_shows_an_option_or_a_command_that_went(file: Path) -> None:
    assert shown_options(file.read_text("utf-8")) == []


def shown_options(text: str) -> list[str]:
    options = [option for option in RENAMED_OPTIONS if re.search(rf"(?<![\w-]){option}(?![\w-])", text)]
    return options + [
        name for name in RENAMED_COMMANDS if re.search(rf"\bwla {name} (?!CHECKPOINT --dtype|\w+.* --dtype)", text)
    ]


@pytest.mark.parametrize(
    "line", ["told = 1", "def speaks(): ...", "class ScaledPolicy: ...", "f(astray_share=1)", "x.doing"]
)
def test_words_that_went_are_caught(line: str) -> None:
    assert offences(line)


def test_parts_of_names() -> None:
    assert parts("HeldOutConfig_v2") == {"held", "out", "config", "v"}
    assert offences("foretold = toldness = 1") == []
