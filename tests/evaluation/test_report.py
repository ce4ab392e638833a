import math
import re
import shutil
from dataclasses import replace

import pytest
from fakes import TASK_VARIANT, LineEnv, Walker, build, spec
from test_benchmark import go

from wla.evaluation.benchmark import evaluate
from wla.evaluation.episode_files import read_episodes
from wla.evaluation.report import make_curves, make_spans, write_report
from wla.evaluation.summary import Identity
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


def test_the_report_is_self_contained(html):
    outside = re.sub(r'"data:[a-z]+/[a-z0-9]+;base64,[A-Za-z0-9+/=]+"', '""', html)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<script src", outside)
    assert all(source == "" for source in re.findall(r'src="([^"]*)"', outside))


def test_rates_have_n_an_interval_and_errors(html):
    assert "4 of 7 episodes succeed" in html
    assert "95 % interval 25.0 to 84.2 %" in html
    assert "2 errors" in html
    assert "ZeroDivisionError: the simulation exploded" in html
    assert "set 3" in html  # the three failures ended in "set off"


def test_videos_and_subgoals_are_embedded(folder, html):
    episodes = read_episodes(folder / "episodes")
    assert html.count("data:video/mp4;base64,") == len(episodes) == 6
    assert (
        html.count("imagined at")
        == html.count("ground truth at")
        == sum(len(record.subgoals) for _, record in episodes)
    )
    assert 'class="badge error"' in html


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


def test_spans_cover_the_video_and_curves_follow_the_actions(folder):
    record = next(record for _, record in read_episodes(folder / "episodes") if record.seed == 0)
    spans = make_spans(record.subtasks, record, {"set": 0, "arrive": 1})
    assert [span.text for span in spans] == ["set off", "arrive"]
    assert spans[0].left == 0
    assert spans[-1].left + spans[-1].width == pytest.approx(100)
    assert spans[1].start == pytest.approx(0.3)  # step 3 at 10 Hz
    dx, gripper = make_curves(record)
    assert dx.path.startswith("M0 0.0V0.0H200.0")  # 0.25 is the upper limit; 4 steps and the last frame
    assert dx.zero == pytest.approx(20)
    assert gripper.path.startswith("M0 40.0")


def test_a_curve_covers_actions_beyond_the_limits(folder):
    record = read_episodes(folder / "episodes")[0][1]
    extreme = record.replace(actions=((9.0, 0.0), (0.0, 0.0)))
    curve = make_curves(extreme)[0]
    assert (curve.low, curve.high) == (-0.25, 9.0)
    assert all(0 <= float(y) <= 40 for y in re.findall(r"V([-0-9.]+)", curve.path))


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
            [replace(TASK_VARIANT, task=task)],
            range(2),
            EpisodeRunner(make, MARKUP.policy, imagine=True),
            MARKUP,
            tmp_path,
            max_videos=3,
        )
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert len(read_episodes(tmp_path / "episodes")) == 4
    assert ("RuntimeError: out of memory" in html) == (policy is Hasty)
    assert not re.search(r'(d|y1|y2)="[^"]*(nan|inf)', html)
