"""Variants compared on the same episodes: pairs, intervals, training seeds, and the table that names them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_results import result

from wla.evaluation.comparison import compare_variants, table
from wla.rollout.results import EpisodeResult


def run(outcomes: str) -> list[EpisodeResult]:
    """One episode per letter: s success, f failure, e error."""
    names = {"s": "success", "f": "failure", "e": "error"}
    return [replace(result(names[letter]), seed=100_000 + i) for i, letter in enumerate(outcomes)]


def test_differences_are_paired():
    full, other = compare_variants({"full": [run("ssff")], "other": [run("sfff")]})
    assert (full.successes, full.n, full.difference) == (2, 4, None)
    assert (full.rate.kind, other.rate.estimate) == ("exact", 0.25)
    assert other.difference is not None
    assert (other.difference.estimate, other.difference.n) == (-0.25, 4)
    assert other.difference.low < -0.8
    assert 0.2 < other.difference.high < 0.7


def test_equal_results_do_not_show_equal_rates_and_crashes_form_no_pairs():
    _, same = compare_variants({"full": [run("sssss")], "same": [run("sssss")]})
    assert same.difference is not None
    assert same.difference.estimate == 0
    assert same.difference.high > 0.3
    _, crashed = compare_variants({"full": [run("sf")], "crashed": [run("es")]})
    assert crashed.difference is not None
    assert (crashed.difference.estimate, crashed.difference.n, crashed.n) == (1, 1, 1)
    _, apart = compare_variants({"full": [run("se")], "apart": [run("es")]})
    assert apart.difference is None


def test_a_variant_of_errors_only_says_the_first_cause():
    crashed = [replace(each, error="RuntimeError: no EGL") for each in run("ee")]
    with pytest.raises(
        ValueError, match=r"variant 'b': no episode ended in success or failure \(RuntimeError: no EGL\)"
    ):
        compare_variants({"a": [run("s")], "b": [crashed]})


def test_episodes_are_paired_within_a_training_seed():
    _, other = compare_variants({"full": [run("ss"), run("ff")], "other": [run("ff"), run("ss")]})
    assert (other.n, other.rate.kind, other.rate.n) == (4, "by episode", 2)
    assert other.difference is not None
    assert other.difference.estimate == 0
    assert other.difference.high > 0.5


def test_runs_of_one_episode_are_not_independent_episodes():
    """Twenty runs that all succeed in the same two of four episodes say as little about other episodes as one run."""
    one, many = (compare_variants({"a": [run("ssff")] * runs, "b": [run("ssff")] * runs})[0] for runs in (1, 20))
    assert many.rate.high - many.rate.low > 0.9 * (one.rate.high - one.rate.low)


def test_intervals_over_training_seeds_come_from_five_runs_on():
    rng = np.random.default_rng(0)
    runs = ["".join(rng.permutation(list("s" * n + "f" * (40 - n)))) for n in (10, 20, 30, 38, 38)]
    full, other = compare_variants({"full": [run("s" * 36 + "ffff")] * 5, "other": [run(text) for text in runs]})
    assert full.difference_over_seeds is None
    assert other.rate_over_seeds is not None
    assert other.difference_over_seeds is not None
    assert (other.rate_over_seeds.n, other.rate_over_seeds.kind) == (5, "over training seeds")
    assert other.difference is not None
    assert other.difference.high < 0 < other.difference_over_seeds.high  # these runs are worse, the variant may not be
    assert "| 5 " not in table([full, other])
    assert "t intervals over n = 5 training seeds" in table([full, other])
    assert all(row.rate_over_seeds is None for row in compare_variants({"a": [run("sf")] * 4, "b": [run("sf")] * 4}))


def test_the_table_has_a_line_per_variant_and_says_what_its_intervals_are():
    text = table(compare_variants({"full": [run("ssff")], "a | b": [run("sfff")]}))
    assert text.splitlines()[2:4] == [
        "| full | 50.0 | 6.8 .. 93.2 | 4 |  |  |  |",
        "| a \\| b | 25.0 | 0.6 .. 80.6 | 4 | -25.0 | -88.2 .. +61.3 | 4 |",
    ]
    assert "success rates exact, differences paired by episode" in text
    assert (
        "One training run of each variant: this says nothing about how much training runs of one variant differ" in text
    )
    assert "3 training runs of each variant" in table(compare_variants({"a": [run("sf")] * 3, "b": [run("sf")] * 3}))
