from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from wla.evaluation.subtask_rates import COLUMNS, subtask_rates
from wla.rollout.subtask_metrics import SubtaskScore

PERFECT = SubtaskScore(
    windows=6,
    exact=4,
    repeats=2,
    transitions=2,
    boundary_error_steps=4,
    missed_transitions=0,
    memory_strict=False,
    current=6,
    edits=0,
    edit_length=3,
    predicted_transitions=2,
    timely_transitions=2,
    memory_correct=True,
)


def test_fractions_are_over_calls_transitions_and_episodes():
    wrong = replace(
        PERFECT,
        windows=18,
        current=0,
        edits=3,
        transitions=1,
        missed_transitions=1,
        memory_correct=False,
        predicted_transitions=4,
        timely_transitions=1,
    )
    rates = subtask_rates([PERFECT, wrong])
    assert rates.edit_score.estimate == 0.5
    assert rates.current.estimate == 0.25
    assert rates.memory.estimate == 0.5
    assert (rates.transition_precision, rates.transition_recall) == (0.5, 0.75)
    assert rates.transition_f1 == pytest.approx(0.6)
    assert rates.transition_error == pytest.approx(8 / 3)
    assert rates.edit_score.n == rates.memory.n == 2
    assert json.loads(json.dumps(asdict(rates), allow_nan=False))


def test_rates_of_perfect_episodes_are_one_and_nothing_to_measure_is_none():
    rates = subtask_rates([PERFECT, None])
    assert rates.episodes == 1
    assert rates.edit_score.estimate == rates.current.estimate == rates.memory.estimate == 1
    assert rates.transition_f1 == 1
    assert rates.memory_strict.estimate == 0
    single = subtask_rates(
        [
            replace(
                PERFECT,
                windows=1,
                repeats=0,
                transitions=0,
                missed_transitions=0,
                predicted_transitions=0,
                timely_transitions=0,
            )
        ]
    )
    assert single.repeat_rate is None
    assert single.transition_f1 is None
    assert single.transition_error is None
    assert all(column.cell(single).value for column in COLUMNS)


def test_results_of_earlier_versions_have_only_the_metrics_of_their_time():
    rates = subtask_rates([SubtaskScore(4, 2, 1, 2, 3, 1, memory_strict=True)])
    assert rates.edit_score is rates.current is rates.memory is rates.transition_f1 is None
    assert rates.exact.estimate == 0.5
    assert rates.transition_error == 1.5
    assert [column.cell(rates).value for column in COLUMNS].count("-") == 6


def test_no_scores_are_no_rates():
    assert subtask_rates([]) is None
    assert subtask_rates([None]) is None
