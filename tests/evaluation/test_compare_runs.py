"""Two evaluations on one page: pairs of the same seeds, episodes that differ, links into both reports."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest
from browser import CONTRAST, DESK, PHONE, in_window, needs_browser, opened, overflow
from fakes import TASK_VARIANT, Walker, build
from scipy.stats import binomtest
from test_benchmark import go

from wla.cli.main import main
from wla.evaluation.compare_runs import write_comparison
from wla.evaluation.paired import PairedRow, changed_episodes, paired_row, paired_rows, read_pair
from wla.evaluation.report import write_report
from wla.evaluation.summary import Identity
from wla.rollout.results import success_rate
from wla.rollout.runner import EpisodeRunner


class Eager(Walker):
    """Walks in all seeds but the sixth."""

    def reset(self, instruction: str, *, seed: int = 0):
        return super().reset(instruction, seed=1 if seed == 6 else 2)


def identity(name: str) -> Identity:
    return Identity(policy=name, checkpoint_sha256=None, replan_steps=None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Seeds 0 .. 8 of a policy that fails in odd ones, and 0 .. 6 of one that fails in 6; 7 and 8 crash."""
    out = tmp_path_factory.mktemp("runs")
    go(out / "a", range(9), runner=EpisodeRunner(build, "a"), identity=identity("a"), max_videos=30)
    eager = EpisodeRunner(lambda variant, shared: (build(variant)[0], Eager()), "b")
    go(out / "b & <b>", range(8), runner=eager, identity=identity("<i>b</i>"), max_videos=2)
    for run in ("a", "b & <b>"):
        write_report(out / run)
    return out / "a", out / "b & <b>"


def loaded(runs: tuple[Path, Path]):
    return tuple(run.results for run in read_pair(*runs))


def test_differences_are_over_the_episodes_that_both_decided(runs):
    row = paired_row(TASK_VARIANT, *loaded(runs))
    # Seed 7 crashes in both, 8 is of the first alone: 0 .. 6 are pairs, of which 1, 3, 5 are won and 6 is lost.
    assert (row.pairs, row.only_first, row.only_second) == (7, 1, 3)
    assert row.difference.estimate == pytest.approx((6 - 4) / 7)
    assert (row.difference.kind, row.difference.n) == ("paired by episode", 7)
    assert [rate.n for rate in row.rates] == [7, 7]
    assert paired_rows(*loaded(runs)) == [replace(row, variant=None), row]


def test_episodes_that_differ_are_listed_lost_ones_first(runs):
    found = [(key[1], before.outcome, after.outcome) for key, before, after in changed_episodes(*loaded(runs))]
    assert found == [(6, "success", "failure"), *((seed, "failure", "success") for seed in (1, 3, 5))]


@pytest.mark.parametrize(("only_first", "only_second"), [(0, 0), (0, 5), (5, 0), (3, 3), (1, 9), (12, 4)])
def test_the_p_value_is_that_of_an_exact_test(only_first, only_second):
    row = PairedRow(None, (success_rate([]), success_rate([])), 40, only_first, only_second, None)
    n = only_first + only_second
    assert row.p_value == pytest.approx(binomtest(only_first, n).pvalue if n else 1)


def test_the_terminal_shows_differences_and_changed_episodes(runs, capsys):
    assert main(["compare-runs", *map(str, runs)]) == 0
    shown = capsys.readouterr()
    rows = [line.split() for line in shown.out.splitlines()]
    assert ["all", "57.1", "85.7", "+28.6", "-44.5", "..", "+82.8", "1", "3", "7", "0.62"] in rows
    assert "paired by episode, of these runs, n = 7 episodes; p: McNemar's exact test" in shown.out
    assert "left out of the differences: 1 of A, 0 of B" in shown.out
    assert "  walk clean, seed 6: success -> failure\n  walk clean, seed 1: failure -> success" in shown.out
    assert "wla report " in shown.err


def test_runs_that_cannot_be_compared_are_one_line(runs, tmp_path, capsys):
    go(tmp_path / "other", range(20, 22))
    capsys.readouterr()
    for pair, message in (
        ((runs[0], tmp_path / "other"), "no episode of the same task, setting, robot, protocol and seed"),
        ((runs[0], runs[0]), "is compared with itself"),
        ((runs[0], tmp_path), "holds no evaluation"),
    ):
        assert main(["compare-runs", *map(str, pair)]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_links_lead_to_the_episodes_of_both_reports(runs, tmp_path):
    page = write_comparison(*runs, page=tmp_path / "c.html")
    html = page.read_text("utf-8")
    assert "<b>" not in html.replace("&lt;b&gt;", "")
    assert "<i>b</i>" not in html
    links = re.findall(r'href="([^"#]+)#([^"]+)"', html)
    assert links
    for file, anchor in links:
        report = page.parent / unquote(file)
        assert f'id="{unquote(anchor)}"' in report.read_text("utf-8")
    for anchor in re.findall(r'href="#([^"]+)"', html):
        assert f'id="{unquote(anchor)}"' in html
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_single_file_has_the_videos_of_both(runs, tmp_path):
    html = write_comparison(*runs, page=tmp_path / "c.html", single_file=True).read_text("utf-8")
    found = re.findall(r'data-src="([^"]{20})', html)
    assert len(found) >= 4
    assert set(found) == {"data:video/mp4;base64"[:20]}


def test_runs_without_a_common_episode_are_refused(runs, tmp_path, capsys):
    go(tmp_path / "other", range(20, 22))
    with pytest.raises(ValueError, match="have no episode of the same task, setting, robot, protocol and seed"):
        write_comparison(runs[0], tmp_path / "other")
    with pytest.raises(ValueError, match="compared with itself"):
        write_comparison(runs[0], runs[0])
    assert main(["report", str(runs[0]), str(tmp_path / "nowhere")]) == 2
    assert "nowhere holds no evaluation" in capsys.readouterr().err


def test_runs_of_equal_outcomes_say_so(runs, tmp_path):
    copy = shutil.copytree(runs[0], tmp_path / "copy")
    assert "the same outcome in every common episode" in write_comparison(runs[0], copy).read_text("utf-8")


def test_the_command_writes_reports_and_comparisons(runs, tmp_path, capsys):
    assert main(["report", str(runs[0]), "--out", str(tmp_path / "r.html")]) == 0
    assert main(["report", *map(str, runs), "--out", str(tmp_path / "c.html")]) == 0
    assert "closed-loop evaluation" in (tmp_path / "r.html").read_text("utf-8")
    assert "percentage points of success" in (tmp_path / "c.html").read_text("utf-8")
    assert f"report: {tmp_path / 'c.html'}" in capsys.readouterr().out


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_comparison_fits_and_is_readable(runs, tmp_path, width, dark):
    page = write_comparison(*runs, page=tmp_path / "c.html")
    with opened(page, width=width, dark=dark) as shown:
        assert overflow(shown) <= 0
        assert in_window(shown, "#success .big")
        shown.locator("article").first.scroll_into_view_if_needed()
        shown.wait_for_function("document.querySelector('article .curves path')")
        assert overflow(shown) <= 0
        assert shown.evaluate(CONTRAST) == []
        shown.locator("a.mark").first.press("Enter")
        shown.wait_for_function("location.hash.startsWith('#differs-')")
