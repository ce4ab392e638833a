from __future__ import annotations

from pathlib import Path

import wla
from wla.recipes import ablate_world
from wla.training.ablation_calls import ROUNDS, CallCosts, call_costs, calls_table

BUNDLED = Path(wla.__file__).parent / "bundled"


def test_calls_of_all_variants_are_counted_and_timed() -> None:
    config = ablate_world.config().replace(tasks=("press", "push"))
    names = {"short": BUNDLED / "nano-tabletop", "memory": BUNDLED / "nano-memory"}
    short, memory = call_costs(names, config)
    assert (short.variant, memory.variant) == ("short", "memory")
    assert 0.05 < short.gflop < 5
    assert memory.gflop > short.gflop, "more flow steps and a longer prompt"
    assert short.actions == 4
    assert min(short.ms, memory.ms) > 0


def test_the_table_compares_with_the_first_variant() -> None:
    rows = [
        CallCosts(variant="a|b", gflop=0.5, actions=4, ms=20.04),
        CallCosts(variant="c", gflop=1.0, actions=8, ms=9),
    ]
    text = calls_table(rows)
    assert r"| a\|b | 0.500 | 1.00 | 4 | 0.1250 | 20.0 |" in text
    assert "| c | 1.000 | 2.00 | 8 | 0.1250 | 9.0 |" in text
    assert f"{ROUNDS} rounds" in text
