"""The report of an evaluation, without a browser: rates, links, escaping, data of curves and lanes."""

import base64
import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from fakes import TASK_VARIANT, LineEnv, Walker, build, spec
from test_benchmark import go

from wla.evaluation.benchmark import evaluate
from wla.evaluation.cards import make_curves, make_lanes, make_spans
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.report import count_failure_subtasks, summarise_latency, write_report
from wla.evaluation.summary import Identity
from wla.rollout.results import read_results
from wla.rollout.runner import EpisodeRunner

MARKUP = Identity(policy="<script>alert(1)</script>", checkpoint_sha256=None, replan_steps=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    go(out, range(9), runner=EpisodeRunner(build, MARKUP.policy, imagine=True), identity=MARKUP, max_videos=6)
    return out


@pytest.fixture(scope="module")
def html(folder):
    return write_report(folder).read_text(encoding="utf-8")


def sources(html):
    return re.findall(r'(?:src|href)="([^"#][^"]*)"', html)


def test_videos_and_images_lie_beside_the_report_and_nothing_is_loaded_from_elsewhere(folder, html):
    assert not re.search(r"https?:|@import|url\(|<link|<script src", html)
    found = sources(html)
    assert all((folder / unquote(source)).is_file() for source in found)
    assert sum(source.endswith("video.mp4") for source in found) == len(read_episodes(folder / "episodes")) == 6
    assert "data:" not in html


def test_a_single_file_embeds_them(folder, tmp_path):
    html = write_report(folder, page=tmp_path / "report.html", single_file=True).read_text(encoding="utf-8")
    assert all(source.startswith("data:") for source in sources(html))
    assert html.count("data:video/mp4;base64,") == 6


def test_links_lead_to_files_from_wherever_the_report_is(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "50 % of #1 'a' & b")
    page = write_report(run, page=tmp_path / "pages" / "report.html")
    found = [Path(page.parent / unquote(source)) for source in sources(page.read_text(encoding="utf-8"))]
    assert found
    assert all(file.is_file() and file.resolve().is_relative_to(run) for file in found)


def test_rates_have_n_an_interval_and_errors(html):
    assert "4 of 7 episodes succeed" in html
    assert "exact 95 % interval 18.4 to 90.1 %" in html
    assert "2 errors" in html
    assert "ZeroDivisionError: the simulation exploded" in html
    assert "set 3" in html  # the three failures ended in "set off"


def test_subgoals_are_beside_their_ground_truth(folder, html):
    episodes = read_episodes(folder / "episodes")
    assert html.count(">imagined<") == html.count(">ground truth<") == sum(len(r.subgoals) for _, r in episodes)
    assert 'class="badge error"' in html


def test_videos_are_loaded_by_nobody_but_the_script(html):
    videos = re.findall(r"<video[^>]*>", html)
    assert len(videos) == 6
    assert all('preload="none"' in video and not re.search(r"\ssrc=", video) for video in videos)


def test_scored_candidates_are_grouped_by_memory_reset(folder, html):
    subgoals = [subgoal for _, record in read_episodes(folder / "episodes") for subgoal in record.subgoals]
    assert html.count(">memory reset: set off<") == html.count("0.500") == len(subgoals)
    assert (
        html.count(">candidates: set off<") + html.count(">candidates: arrive<") == html.count("0.750") == len(subgoals)
    )


def test_a_damaged_episode_is_named_in_one_line(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = sorted(copy.glob("episodes/*/episode.json"))[1]
    path.write_text(path.read_text().replace('"memory_reset":', '"begun":'))
    with pytest.raises(
        ValueError, match=r"episode.json: no field 'subgoals.0.scored_candidates.0.begun'; .*; remove that episode"
    ) as caught:
        write_report(copy)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_names_are_escaped(html):
    assert "alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)" in html


def record_of(folder, seed):
    return next(record for _, record in read_episodes(folder / "episodes") if record.seed == seed)


def values_of(curve):
    levels = np.frombuffer(base64.b64decode(curve["data"]), "<u2")
    return curve["low"] + levels / 65534 * (curve["high"] - curve["low"])


def test_lanes_cover_the_video_and_curves_follow_what_was_recorded(folder):
    record = record_of(folder, 0)
    (lane,) = make_lanes(record)
    assert lane["spans"] == [(0, 3, "set off"), (3, 5, "arrive")]  # 4 steps, and the frame after them
    action, state, calls = make_curves(record)
    dx, gripper = action["curves"]
    assert (dx["low"], dx["high"]) == (-0.25, 0.25)
    assert values_of(dx) == pytest.approx([0.25] * 4, abs=1e-4)
    assert values_of(gripper) == pytest.approx([-1.0] * 4, abs=1e-4)
    assert values_of(state["curves"][0]) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-4)
    (latency,) = calls["curves"]
    steps, milliseconds = zip(*record.calls, strict=True)
    assert steps == (0, 3)
    held = [milliseconds[0]] * 3 + [milliseconds[1]]
    assert values_of(latency) == pytest.approx(held, abs=max(held) / 1e4)


def test_a_curve_covers_actions_beyond_the_limits(folder):
    extreme = record_of(folder, 0).replace(actions=((9.0, 0.0), (0.0, 0.0)))
    curve = make_curves(extreme)[0]["curves"][0]
    assert (curve["low"], curve["high"]) == (-0.25, 9.0)


def test_episodes_of_earlier_versions_have_fewer_curves(folder):
    old = record_of(folder, 0).replace(states=(), state_names=(), state_units=(), calls=())
    assert [group["name"] for group in make_curves(old)] == ["action"]
    assert summarise_latency([old]) is None


def test_the_summary_of_times_is_over_all_recorded_calls(folder, html):
    records = [
        record_of(folder, 0).replace(calls=((0, 10.0), (3, 30.0))),
        record_of(folder, 1).replace(calls=((0, 20.0),)),
    ]
    latency = summarise_latency(records)
    assert (latency.calls, latency.median, latency.longest) == (3, 20.0, 30.0)
    assert 20 < latency.p95 <= 30
    assert "ms per call</strong> (median)" in html


def test_texts_of_one_step_and_blank_texts_do_not_break_a_report(folder):
    assert make_spans([(0, " "), (2, "go")], 4) == [(0, 2, " "), (2, 4, "go")]
    failure = next(r for r in read_results(folder / "results.jsonl") if r.outcome == "failure")
    blank = replace(failure, subtasks=((0, "  "),))
    assert count_failure_subtasks([failure, blank]) == (("set", 1),)


HOSTILE = "</script><img src=x onerror=alert(1)>\u2028'\"&<!-- \ud800"


def test_hostile_texts_stay_texts(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    path = next(file for file in sorted(run.glob("episodes/*/episode.json")))
    tree = json.loads(path.read_text())
    tree |= {"instruction": HOSTILE[:-1], "subtasks": [[0, HOSTILE[:-1]]], "action_names": [HOSTILE[:-1], "b"]}
    path.write_text(json.dumps(tree))
    html = write_report(run).read_text(encoding="utf-8")
    assert "<img src=x" not in html
    datas = re.findall(r'<script type="application/json" class="data">(.*?)</script>', html, re.DOTALL)
    assert len(datas) == 6
    assert HOSTILE[:-1] in [json.loads(data)["lanes"][0]["spans"][0][2] for data in datas]


def test_all_episodes_have_a_mark_and_recorded_ones_a_link(html):
    assert len(re.findall(r'class="mark [a-z]+"', html)) == 9
    anchors = re.findall(r'<a class="mark [a-z]+" href="#([^"]+)"', html)
    assert len(anchors) == 6
    assert all(f'id="{unquote(anchor)}"' in html for anchor in anchors)


def test_a_recorded_episode_without_its_video_is_shown_without_it(folder, tmp_path):
    run = shutil.copytree(folder, tmp_path / "run")
    next(run.glob("episodes/*/video.mp4")).unlink()
    assert write_report(run).read_text(encoding="utf-8").count("<video") == 5


def test_a_policy_without_subtasks_or_videos_gets_a_report(tmp_path):
    go(tmp_path, range(2))
    assert "1 of 2 episodes succeed" in write_report(tmp_path).read_text(encoding="utf-8")


def test_a_folder_without_results_is_refused(tmp_path, folder):
    with pytest.raises(FileNotFoundError, match=r"holds no evaluation: run\.json is missing"):
        write_report(tmp_path)
    shutil.copy(folder / "run.json", tmp_path)
    assert "No episode ended in success or failure" in write_report(tmp_path).read_text(encoding="utf-8")


class Hasty(Walker):
    """Crashes in its first call."""

    def act(self, observation, state, **options):
        raise RuntimeError("out of memory")


def with_limits(low, high):
    """A robot whose second dimension has these limits."""
    action = spec().action
    return spec().replace(action=action.replace(low=(action.low[0], low), high=(action.high[0], high)))


@pytest.mark.parametrize(
    ("robot", "policy"),
    [
        (spec(), Hasty),
        (with_limits(-1.0, -1.0), Walker),
        (with_limits(-1.0, -1.0), Hasty),
        (with_limits(-math.inf, math.inf), Walker),
        (with_limits(-math.inf, math.inf), Hasty),
        (with_limits(-1e308, 1e308), Walker),
        (with_limits(-1.0, math.nextafter(-1.0, 0)), Walker),
    ],
    ids=["first call", "one value", "both", "unlimited", "both of these", "huge", "tiny"],
)
def test_no_episode_takes_the_report_along(tmp_path, robot, policy):
    def make(variant, shared):
        return LineEnv(robot), policy(robot_spec=robot) if variant.task == "odd" else Walker(robot_spec=robot)

    for task in ("walk", "odd"):
        evaluate(
            [(replace(TASK_VARIANT, task=task), seed) for seed in range(2)],
            EpisodeRunner(make, MARKUP.policy, imagine=True),
            MARKUP,
            tmp_path,
            max_videos=3,
        )
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert len(read_episodes(tmp_path / "episodes")) == 4
    assert ("RuntimeError: out of memory" in html) == (policy is Hasty)
    for text in re.findall(r'<script type="application/json" class="data">(.*?)</script>', html, re.DOTALL):
        curves = [curve for group in json.loads(text)["curves"] for curve in group["curves"]]
        assert all(math.isfinite(curve["low"]) and math.isfinite(curve["high"]) for curve in curves)
