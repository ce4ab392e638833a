"""The list of mutants fits the package; `make mutants` runs it."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutants.run import ROOT, Mutant, Outcome, load_mutants, read_sources, summary

MUTANTS = load_mutants()
SOURCES = read_sources()
MUTANT = Mutant(id="sign", old="1 - t", new="1 + t", why="wrong direction", tests=())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.id)
def test_every_mutant_applies_and_its_tests_exist(mutant: Mutant) -> None:
    text = SOURCES[mutant.locate(SOURCES)]
    assert text.replace(mutant.old, mutant.new) != text
    assert mutant.tests
    assert [test for test in mutant.tests if not (ROOT / test).is_file()] == []


@pytest.mark.parametrize(
    ("sources", "count"),
    [({}, "0 times in the package;"), ({"a.py": "1 - t", "b.py": "1 - t"}, "2 times in the package .a.py, b.py.;")],
)
def test_a_mutant_that_does_not_fit_names_itself_and_the_files(sources: dict[str, str], count: str) -> None:
    with pytest.raises(ValueError, match=f"mutant sign no longer applies: '1 - t' occurs {count} update it"):
        MUTANT.locate({Path(name): text for name, text in sources.items()})


def test_a_survivor_needs_an_explanation_and_a_low_rate_fails_even_with_them() -> None:
    killed = Outcome(MUTANT, "killed", 1.0, "")
    survived = Outcome(MUTANT, "survived", 1.0, "")
    explained = Outcome(Mutant(**{**vars(MUTANT), "survives": "equivalent"}), "survived", 1.0, "")
    invalid = Outcome(MUTANT, "invalid", 1.0, "ImportError")
    assert summary([killed])[1]
    assert summary([*[killed] * 19, explained])[1]
    for outcomes in ([*[killed] * 19, survived], [killed, explained], [*[killed] * 99, invalid]):
        assert not summary(outcomes)[1]
    text = summary([killed, survived])[0]
    assert "SURVIVED: sign: wrong direction" in text
    assert "1 of 2 mutants killed (50 %)" in text
